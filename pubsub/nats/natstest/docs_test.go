package natstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// recipe is the section "Two nodes on one machine" of docs/cluster.md: its blocks, with ports that are free.
type recipe struct {
	haproxy, sh, console string
	ports                map[string]string // as they stand there, to those here
}

func readRecipe(t testing.TB) recipe {
	t.Helper()
	page, err := os.ReadFile("../../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Two nodes on one machine\n")
	section, _, _ = strings.Cut(section, "\n## ")
	r := recipe{ports: map[string]string{}}
	for _, port := range []string{"4222", "8080", "8081", "8082", "9081", "9082"} {
		r.ports[port] = fmt.Sprint(freePort(t))
	}
	for language, to := range map[string]*string{"haproxy": &r.haproxy, "sh": &r.sh, "console": &r.console} {
		block := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$").FindStringSubmatch(section)
		if block == nil {
			t.Fatalf("docs/cluster.md: no block in %s", language)
		}
		*to = r.here(block[1])
	}
	return r
}

// here has the ports of a text replaced.
func (r *recipe) here(text string) string {
	return regexp.MustCompile(`\b[0-9]{4}\b`).ReplaceAllStringFunc(text, func(port string) string {
		if ours, ok := r.ports[port]; ok {
			return ours
		}
		return port
	})
}

// TestDocsCluster runs the commands of docs/cluster.md, and wants the answers that stand there.
func TestDocsCluster(t *testing.T) {
	t.Parallel()
	for _, need := range []string{"curl", "haproxy"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skip(need + " is not installed")
		}
	}
	if err := buildPrograms(); err != nil {
		t.Fatal(err)
	}
	r, dir := readRecipe(t), t.TempDir()
	if n := strings.Count(r.sh, "\n"); n != 5 {
		t.Errorf("%d commands, want 5", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte(r.haproxy), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := func(commands string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", commands)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
		return cmd
	}
	all := shell(r.sh + "echo those that were started are up\nwait\n")
	all.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out text
	all.Stdout, all.Stderr = &out, &out
	if err := all.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-all.Process.Pid, syscall.SIGKILL) // the group that it began
		_ = all.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	eventually(t, "the commands to have run", func() bool { return strings.Contains(out.String(), "are up") })
	for _, admin := range []string{"9081", "9082"} {
		askFor(t, "200 ready", "GET", "http://127.0.0.1:"+r.ports[admin]+"/readyz", "")
		askFor(t, `"connected":true`, "GET", "http://127.0.0.1:"+r.ports[admin]+"/debug/nodes", "")
	}
	changing := regexp.MustCompile(`"position":"[a-z0-9]+-|\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	for _, part := range strings.Split("\n"+r.console, "\n$ ")[1:] {
		command, want, _ := strings.Cut(part, "\n")
		got, err := shell(command).Output()
		if err != nil || changing.ReplaceAllString(strings.TrimSpace(string(got)), "X") != changing.ReplaceAllString(strings.TrimSpace(want), "X") {
			t.Errorf("%s: %v\n%s\nwant\n%s", command, err, got, want)
		}
	}
}
