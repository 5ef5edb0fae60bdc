package doctor_test

import (
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/millrace/millrace/cmd/millrace/doctor"
)

// tuned is a machine of 64 GiB that was set up for many connections, file by file.
var tuned = map[string]string{
	"proc/self/limits": "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max processes             96365                96365                processes \n" +
		"Max open files            1000000              2000000              files     \n",
	"proc/self/cgroup":                          "0::/system.slice/millrace.service\n",
	"proc/self/mountinfo":                       "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
	"proc/meminfo":                              "MemTotal:       67108864 kB\nMemFree:        100 kB\nMemAvailable:   60000000 kB\n",
	"proc/net/sockstat":                         "sockets: used 12\nTCP: inuse 1 orphan 0 tw 43 alloc 1 mem 356\nUDP: inuse 0 mem 0\n",
	"proc/sys/fs/nr_open":                       "2000000\n",
	"proc/sys/fs/file-max":                      "9223372036854775807\n",
	"proc/sys/fs/file-nr":                       "416\t0\t9223372036854775807\n",
	"proc/sys/fs/epoll/max_user_watches":        "14500000\n",
	"proc/sys/vm/max_map_count":                 "65530\n",
	"proc/sys/net/core/somaxconn":               "4096\n",
	"proc/sys/net/ipv4/tcp_max_syn_backlog":     "4096\n",
	"proc/sys/net/ipv4/tcp_mem":                 "767463\t1023284\t1534926\n",
	"proc/sys/net/ipv4/tcp_rmem":                "4096\t131072\t6291456\n",
	"proc/sys/net/ipv4/tcp_wmem":                "4096\t16384\t4194304\n",
	"proc/sys/net/ipv4/ip_local_port_range":     "1024\t65535\n",
	"sys/fs/cgroup/system.slice/cpu.max":        "max 100000\n",
	"sys/fs/cgroup/system.slice/memory.max":     "max\n",
	"sys/fs/cgroup/system.slice/memory.current": "1000000000\n",
	"sys/fs/cgroup/system.slice/memory.high":    "max\n",
	"sys/fs/cgroup/system.slice/memory.stat":    "anon 1\nfile 1\n",
	"sys/fs/cgroup/system.slice/cgroup.type":    "domain\n",
	"sys/fs/cgroup/cgroup.controllers":          "cpu memory\n",
}

// machine reads the tuned machine with some files changed; "-" takes one away.
func machine(changed map[string]string) doctor.Machine {
	files := maps.Clone(tuned)
	maps.Copy(files, changed)
	root := fstest.MapFS{}
	for name, text := range files {
		if text != "-" {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return doctor.Read(root)
}

const service = "sys/fs/cgroup/system.slice/millrace.service"

// binding is a made-up machine, how many connections it holds, what binds first,
// and what raises that.
type binding struct {
	name        string
	files       map[string]string
	values      map[string]doctor.Number // from the Go runtime
	plan        doctor.Plan
	connections uint64
	binding     string
	change      string // of the first limit
}

var bindings = []binding{
	{"as it is", nil, nil, doctor.Plan{}, 2_000_000 - 16_384, "descriptors", "sysctl -w fs.nr_open=12016384; LimitNOFILE=12016384 "},
	{"eight loops", map[string]string{"proc/self/limits": "Max open files 200 200 files\n"}, map[string]doctor.Number{"GOMAXPROCS": 8},
		doctor.Plan{Target: 160}, 200 - 48, "descriptors", "LimitNOFILE=208 in"},
	{"no larger than nr_open", map[string]string{"proc/self/limits": "Max open files 1024 4096 files\n"}, nil,
		doctor.Plan{Target: 100_000}, 4096 - 512, "descriptors", "LimitNOFILE=114286 in the systemd unit"},
	{"unlimited descriptors", map[string]string{"proc/self/limits": "Max open files unlimited unlimited files\n"}, nil,
		doctor.Plan{Active: 10}, (1023284 - 356) * 5, "net.ipv4.tcp_mem", "sysctl -w net.ipv4.tcp_mem='"},
	{"half of them active", nil, nil, doctor.Plan{Active: 50, Target: 2_000_000}, 1023284 - 356,
		"net.ipv4.tcp_mem", "sysctl -w net.ipv4.tcp_mem='1500267 2000356 3000534'"},
	{"open files of the machine", map[string]string{"proc/sys/fs/file-max": "500000\n"}, nil, doctor.Plan{Target: 600_000},
		500_000 - 416 - 32, "fs.file-max", "sysctl -w fs.file-max=600448"},
	{"epoll", map[string]string{"proc/sys/fs/epoll/max_user_watches": "100000\n"}, nil, doctor.Plan{Target: 600_000},
		100_000 - 32, "fs.epoll.max_user_watches", "sysctl -w fs.epoll.max_user_watches=600032"},
	{"conntrack", map[string]string{
		"proc/sys/net/netfilter/nf_conntrack_max": "262144\n", "proc/sys/net/netfilter/nf_conntrack_count": "62144\n",
	}, nil, doctor.Plan{Target: 600_000}, 200_000, "net.netfilter.nf_conntrack_max", "sysctl -w net.netfilter.nf_conntrack_max=662144, or"},
	{"conntrack over-full", map[string]string{
		"proc/sys/net/netfilter/nf_conntrack_max": "1000\n", "proc/sys/net/netfilter/nf_conntrack_count": "1001\n",
	}, nil, doctor.Plan{}, 0, "net.netfilter.nf_conntrack_max", "sysctl"},
}

var memoryBindings = []binding{
	{"little memory", map[string]string{"proc/meminfo": "MemTotal: 524288 kB\nMemAvailable: 400000 kB\n"}, nil, doctor.Plan{Target: 100_000},
		(400000<<10 - 512<<20/20 - 33<<20) / 4478, "memory", "more memory: "},
	{"what the handlers keep", map[string]string{"proc/meminfo": "MemTotal: 524288 kB\nMemAvailable: 400000 kB\n"}, nil,
		doctor.Plan{OwnBytes: 10_000}, (400000<<10 - 512<<20/20 - 33<<20) / 24478, "memory", ""},
	{"TLS", map[string]string{"proc/meminfo": "MemTotal: 524288 kB\nMemAvailable: 400000 kB\n"}, nil,
		doctor.Plan{TLS: true}, (400000<<10 - 512<<20/20 - 33<<20) / (4478 + 2*6400), "memory", ""},
	{"a small heap by GOGC", map[string]string{"proc/meminfo": "MemTotal: 524288 kB\nMemAvailable: 400000 kB\n"},
		map[string]doctor.Number{"GOGC": 20}, doctor.Plan{OwnBytes: 861}, (400000<<10 - 512<<20/20 - 33<<20) / 5400, "memory", ""},
	{"no memory at all", map[string]string{"proc/meminfo": "MemTotal: 16384 kB\nMemAvailable: 1000 kB\n"}, nil, doctor.Plan{}, 0, "memory", ""},
	{"a group", map[string]string{
		service + "/memory.max": "536870912\n", service + "/memory.current": "100000000\n", service + "/memory.stat": "anon 5\ninactive_file 60000000\n",
	}, nil, doctor.Plan{Target: 200_000}, (536870912 - 40000000 - 33<<20) / 4478, "cgroup", "MemoryMax=926M in the systemd unit"},
	{"slowed down before", map[string]string{
		service + "/memory.max": "536870912\n", service + "/memory.high": "268435456\n", service + "/memory.current": "0\n",
	}, nil, doctor.Plan{}, (268435456 - 33<<20) / 4478, "cgroup", "MemoryMax="},
	{"the group around it", map[string]string{
		"sys/fs/cgroup/system.slice/memory.max": "1073741824\n", service + "/memory.max": "max\n",
	}, nil, doctor.Plan{}, (1073741824 - 1000000000 - 33<<20) / 4478, "cgroup", "MemoryMax="},
	{"version 1, the group around it", map[string]string{
		"proc/self/cgroup":                    "12:cpu,cpuacct:/a/b\n4:memory:/a/b\n0::/\n",
		"proc/self/mountinfo":                 "1 2 0:3 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n1 2 0:3 / /cg/memory rw - cgroup cgroup rw,memory\n",
		"cg/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
		"cg/memory/a/memory.limit_in_bytes":   "1073741824\n", "cg/memory/a/memory.usage_in_bytes": "0\n",
		"cg/memory/memory.limit_in_bytes": "9223372036854771712\n",
	}, nil, doctor.Plan{}, (1073741824 - 33<<20) / 4478, "cgroup", "docker run --memory "},
	{"version 1 in a container", map[string]string{
		"proc/self/cgroup":                              "4:memory:/docker/0123/in\n",
		"proc/self/mountinfo":                           "1 2 0:3 /docker/0123 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
		"sys/fs/cgroup/memory/in/memory.limit_in_bytes": "268435456\n",
	}, nil, doctor.Plan{}, (268435456 - 33<<20) / 4478, "cgroup", ""},
	{"a container with a path from outside", map[string]string{
		"proc/self/cgroup": "0::/kubepods/pod1\n", "sys/fs/cgroup/memory.max": "268435456\n",
	}, nil, doctor.Plan{}, (268435456 - 33<<20) / 4478, "cgroup", ""},
	{"GOMEMLIMIT", nil, map[string]doctor.Number{"GOMEMLIMIT": 64 << 20}, doctor.Plan{Target: 1_000_000}, 31 << 20 / 139, "GOMEMLIMIT", "GOMEMLIMIT=166MiB"},
	{"mappings", map[string]string{"proc/sys/vm/max_map_count": "1010\n"}, nil, doctor.Plan{Target: 1_000_000}, 10 << 21 / 278,
		"vm.max_map_count", "sysctl -w vm.max_map_count=1133"},
}

// TestBinding: each machine holds what it should, and says what to change.
func TestBinding(t *testing.T) {
	for _, tt := range slices.Concat(bindings, memoryBindings) {
		t.Run(tt.name, func(t *testing.T) {
			m := machine(tt.files)
			maps.Copy(m.Values, tt.values)
			r := doctor.Examine(m, tt.plan)
			if r.Connections != tt.connections || r.Binding != tt.binding {
				t.Errorf("it holds %d by %s, want %d by %s", r.Connections, r.Binding, tt.connections, tt.binding)
			}
			if holds := tt.plan.Target <= tt.connections; r.Holds != holds {
				t.Errorf("holds %v, want %v", r.Holds, holds)
			}
			if change := strings.Join(r.Limits[0].Change, "; "); !strings.Contains(change, tt.change) || change == "" && r.Goal > r.Connections {
				t.Errorf("the change for %d is %q, want %q in it", r.Goal, change, tt.change)
			}
			for i := range r.Limits[1:] {
				if r.Limits[i].Connections > r.Limits[i+1].Connections {
					t.Errorf("%s stands before %s", r.Limits[i].Name, r.Limits[i+1].Name)
				}
			}
		})
	}
}

// TestChangesAreEnough: a machine that is changed as it says holds the target.
func TestChangesAreEnough(t *testing.T) {
	const target = 3_000_000
	m := machine(map[string]string{
		"proc/sys/net/netfilter/nf_conntrack_max": "262144\n", "proc/sys/net/netfilter/nf_conntrack_count": "77\n",
		"proc/sys/fs/file-max": "100000\n", "proc/sys/fs/epoll/max_user_watches": "100000\n", "proc/sys/vm/max_map_count": "1010\n",
	})
	p := doctor.Plan{Target: target, Active: 100}
	r := doctor.Examine(m, p)
	if r.Holds {
		t.Fatal("it holds the target already")
	}
	for _, l := range r.Limits {
		for _, change := range l.Change {
			change = strings.TrimPrefix(change, "sysctl -w ")
			name, value, _ := strings.Cut(change, "=")
			if name == "LimitNOFILE" {
				name = "descriptors.hard"
			}
			var n, next uint64
			if _, err := fmt.Sscanf(value, "'%d %d ", &n, &next); err == nil {
				name, n = name+".pressure", next
			} else if _, err := fmt.Sscanf(value, "%d", &n); err != nil {
				t.Fatalf("no number in %q", change)
			}
			m.Values[name] = doctor.Number(n)
		}
	}
	if after := doctor.Examine(m, p); !after.Holds || after.Connections > target+10 {
		t.Errorf("after the changes it holds %d, by %s; want %d or hardly more", after.Connections, after.Binding, target)
	}
}

// TestUnread: what can not be read is named, and is no limit.
func TestUnread(t *testing.T) {
	for _, tt := range []struct {
		file, text string
		want       string
	}{
		{"proc/self/limits", "-", "descriptors.hard descriptors.soft"},
		{"proc/self/limits", "Max open files\n", "descriptors.hard descriptors.soft"},
		{"proc/sys/net/ipv4/tcp_mem", "-", "net.ipv4.tcp_mem.low net.ipv4.tcp_mem.pressure net.ipv4.tcp_mem.high"},
		{"proc/sys/net/ipv4/tcp_mem", "1 2", "net.ipv4.tcp_mem.high"},
		{"proc/meminfo", "MemTotal: lots\nMemAvailable: 1 kB", "memory.total"},
		{"proc/net/sockstat", "TCP: inuse 1", "sockstat.tcp.mem"},
		{"proc/self/cgroup", "-", "cgroup"},
		{"proc/sys/net/netfilter/nf_conntrack_max", "-", ""},
		{"proc/sys/fs/nr_open", "-1", "fs.nr_open"},
	} {
		m := machine(map[string]string{tt.file: tt.text})
		if got := strings.Join(m.Unread, " "); got != tt.want {
			t.Errorf("%s is %q: unread %q, want %q", tt.file, tt.text, got, tt.want)
		}
	}
	r := doctor.Examine(doctor.Read(fstest.MapFS{}), doctor.Plan{Target: 1})
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || r.Holds || !strings.Contains(text.String(), "No limit of this machine (linux) is known") {
		t.Errorf("nothing can be read: %v, %+v\n%s", err, r, text.String())
	}
}

// TestSettings: what does not bind but may be better.
func TestSettings(t *testing.T) {
	group := map[string]string{service + "/memory.max": "1073741824\n", service + "/memory.current": "0\n", service + "/cpu.max": "150000 100000\n"}
	for _, tt := range []struct {
		name   string
		files  map[string]string
		values map[string]doctor.Number
		plan   doctor.Plan
		of     string // a setting
		change string // "": none
	}{
		{"a short queue", map[string]string{"proc/sys/net/core/somaxconn": "128"}, nil, doctor.Plan{}, "net.core.somaxconn", "sysctl -w net.core.somaxconn=4096"},
		{"a long queue", nil, nil, doctor.Plan{}, "net.core.somaxconn", ""},
		{"few SYNs", map[string]string{"proc/sys/net/ipv4/tcp_max_syn_backlog": "512"}, nil, doctor.Plan{}, "net.ipv4.tcp_max_syn_backlog", "=4096"},
		{"ports for all", nil, nil, doctor.Plan{Target: 60_000}, "net.ipv4.ip_local_port_range", ""},
		{"more ports", map[string]string{"proc/sys/net/ipv4/ip_local_port_range": "32768 60999"}, nil, doctor.Plan{Target: 60_000},
			"net.ipv4.ip_local_port_range", "sysctl -w net.ipv4.ip_local_port_range='1024 65535'"},
		{"not enough ports", nil, nil, doctor.Plan{Target: 1_000_000}, "net.ipv4.ip_local_port_range", "needs 16 addresses"},
		{"GOMEMLIMIT in a group", group, map[string]doctor.Number{"GOMEMLIMIT": doctor.Unlimited, "GOGC": 100}, doctor.Plan{Target: 100_000}, "GOMEMLIMIT", "GOMEMLIMIT=561MiB"},
		{"GOMEMLIMIT too high", group, map[string]doctor.Number{"GOMEMLIMIT": 1 << 30}, doctor.Plan{Target: 100_000}, "GOMEMLIMIT", "GOMEMLIMIT=561MiB"},
		{"GOMEMLIMIT that fits", group, map[string]doctor.Number{"GOMEMLIMIT": 500 << 20}, doctor.Plan{Target: 100_000}, "GOMEMLIMIT", ""},
		{"no collector", nil, map[string]doctor.Number{"GOMEMLIMIT": doctor.Unlimited, "GOGC": doctor.Unlimited}, doctor.Plan{}, "GOMEMLIMIT", "never collected"},
		{"loops beyond the quota", group, map[string]doctor.Number{"GOMAXPROCS": 8}, doctor.Plan{}, "GOMAXPROCS", "GOMAXPROCS=2"},
		{"loops within the quota", group, map[string]doctor.Number{"GOMAXPROCS": 2}, doctor.Plan{}, "GOMAXPROCS", ""},
		{"buffers", nil, nil, doctor.Plan{}, "net.ipv4.tcp_rmem, tcp_wmem", ""},
		{"the soft limit", nil, nil, doctor.Plan{}, "descriptors, soft limit", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := machine(tt.files)
			maps.Copy(m.Values, tt.values)
			for _, s := range doctor.Examine(m, tt.plan).Settings {
				if s.Name != tt.of {
					continue
				}
				if !strings.Contains(s.Change, tt.change) || (s.Change == "") != (tt.change == "") {
					t.Errorf("the change is %q, want %q", s.Change, tt.change)
				}
				return
			}
			t.Errorf("no setting %s", tt.of)
		})
	}
}

// TestText: the whole report for people, of one machine.
func TestText(t *testing.T) {
	m := machine(map[string]string{"proc/sys/net/ipv4/tcp_mem": "-", "proc/sys/fs/file-max": "2500000"})
	var text strings.Builder
	if err := doctor.Examine(m, doctor.Plan{Target: 2_100_000, Active: 10}).WriteText(&text); err != nil {
		t.Fatal(err)
	}
	const want = `This machine holds 1,983,616 connections, not 2,100,000. What binds first: descriptors of the process (hard limit).
To hold them, change what has an entry in the last column.
Counted for each: 139 B of user memory, 4.1 KiB of the kernel's; 10 % have a message under way (2 pages more).

connections  limit                                    value                                 to hold 2,100,000
  1,983,616  descriptors of the process (hard limit)  2,000,000 (16,384 kept for all else)  sysctl -w fs.nr_open=2116384
                                                                                            LimitNOFILE=2116384 in the systemd unit, docker run --ulimit nofile=2116384, or ulimit -Hn 2116384 as root
  2,499,552  open files of the machine                2,500,000 (416 used)
 10,943,408  memory of the machine                    64 GiB (57.2 GiB available)
 14,499,968  descriptors in epoll, of a user          14,500,000
486,795,750  memory mappings of the process           65,530

No limits of what it holds, but worth a look:

  descriptors, soft limit: 1,000,000
      as Go's start has left it: raised to the hard one, which counts
  net.core.somaxconn: 4,096
      connections of a burst that wait to be accepted; more are sent away for a second
  net.ipv4.tcp_max_syn_backlog: 4,096
      TCP handshakes under way; more get SYN cookies or are dropped
  net.ipv4.ip_local_port_range: 1024-65535
      a proxy on this machine opens at most 64,512 connections from one address to one address and port
      better: a proxy or load generator here needs 33 addresses, or so many ports of the server
  net.ipv4.tcp_rmem, tcp_wmem: 128 KiB, 16 KiB
      a stuck connection takes up to 144 KiB of kernel memory at first, as much as 36 idle ones
  GOMEMLIMIT: none
      what Go's heap may grow to

Could not be read here: net.ipv4.tcp_mem.low, net.ipv4.tcp_mem.pressure, net.ipv4.tcp_mem.high.
`
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}

// TestFigures: what a connection is taken to need is what the docs say.
func TestFigures(t *testing.T) {
	for page, figures := range map[string][]string{
		"../README.md":   {fmt.Sprintf("costs about %d bytes.", doctor.UserBytes)},
		"performance.md": {fmt.Sprintf("| <= 200 B | %d B |", doctor.UserBytes)},
		"doctor.md": {
			fmt.Sprintf("| %d |\n", doctor.UserBytes), fmt.Sprintf("| %d,%03d |\n", doctor.TLSBytes/1000, doctor.TLSBytes%1000),
			fmt.Sprintf("| %d,%03d |\n", doctor.KernelBytes/1000, doctor.KernelBytes%1000),
		},
	} {
		text, err := os.ReadFile(path.Join("..", "..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, figure := range figures {
			if !strings.Contains(string(text), figure) {
				t.Errorf("docs/%s lacks %q", page, figure)
			}
		}
	}
}

// FuzzRead: whatever the files hold, the report is finite and in order.
func FuzzRead(f *testing.F) {
	f.Add("Max open files 1 2 files", "MemTotal: 1 kB\nMemAvailable: 2 kB", "1 2 3", "4:memory:/a\n0::/b", "1 2 3 / /c x - cgroup2 cgroup2 rw", "7")
	f.Add("Max open files unlimited unlimited", "MemTotal: 18446744073709551615 kB", "1152921504606846975", "0::../../..", "1 2 3 / / x - cgroup2 a rw", "max")
	f.Fuzz(func(t *testing.T, limits, meminfo, sysctl, cgroup, mounts, memory string) {
		m := machine(map[string]string{
			"proc/self/limits": limits, "proc/meminfo": meminfo, "proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts,
			"proc/sys/net/ipv4/tcp_mem": sysctl, "proc/sys/fs/file-max": sysctl, "proc/sys/vm/max_map_count": sysctl,
			"proc/sys/net/ipv4/ip_local_port_range": sysctl, "proc/sys/net/ipv4/tcp_rmem": sysctl,
			service + "/memory.max": memory, service + "/memory.current": sysctl, service + "/cpu.max": sysctl,
		})
		for _, p := range []doctor.Plan{{}, {Target: 1 << 40, Active: 100, OwnBytes: 1 << 30}} {
			r := doctor.Examine(m, p)
			for _, l := range r.Limits {
				if l.Connections > 1<<53 || l.Connections < r.Connections {
					t.Errorf("%s holds %d, the machine %d", l.Name, l.Connections, r.Connections)
				}
				if l.Connections < r.Goal && len(l.Change) == 0 {
					t.Errorf("%s holds %d, which is less than %d, and nothing changes that", l.Name, l.Connections, r.Goal)
				}
			}
			if err := r.WriteText(&strings.Builder{}); err != nil {
				t.Error(err)
			}
		}
	})
}
