package main_test

import (
	"strings"
	"testing"
)

// TestNATSFlags: flags about NATS that can't be meant are refused. That the others work is tested with servers of NATS, in
// pubsub/nats/natstest.
func TestNATSFlags(t *testing.T) {
	t.Parallel()
	const nats = "--topics|--nats|nats://127.0.0.1:4222|"
	for args, want := range map[string]string{
		"--nats|nats://127.0.0.1:4222":                               "--nats says nothing without --topics",
		"--topics|--nats-prefix|app":                                 "--nats-prefix says nothing without --nats",
		"--topics|--nats-ready":                                      "--nats-ready says nothing without --nats",
		"--topics|--nats|127.0.0.1:4222":                             "want URLs such as nats://10.0.0.1:4222",
		"--topics|--nats|http://127.0.0.1:4222":                      "want URLs such as nats://10.0.0.1:4222",
		"--topics|--nats|nats://a,nats://":                           "want URLs such as nats://10.0.0.1:4222",
		"--topics|--nats|nats://a/b":                                 "want URLs such as nats://10.0.0.1:4222",
		nats + "--nats-prefix|a..b":                                  "want a subject such as app",
		nats + "--nats-prefix|$JS":                                   "want a subject such as app",
		nats + "--nats-prefix|_live":                                 "want a subject such as app",
		nats + "--nats-interest|some":                                "want one of topic, partition, all",
		nats + "--nats-stream|ROOMS":                                 "with a name and one filter or more",
		nats + "--nats-stream|ROOMS messages=5":                      "Options.Stream.Topics",
		nats + "--nats-stream|RO.OMS rooms/#":                        "Options.Stream.Name",
		nats + "--nats-stream|ROOMS rooms/#/x":                       "want a filter such as rooms/#",
		nats + "--nats-stream|ROOMS $presence/#":                     "Options.Stream.Topics",
		nats + "--nats-stream|ROOMS rooms/# messages=-1":             "behind messages= a whole number",
		nats + "--nats-stream|ROOMS rooms/# replicas=6":              "behind replicas= a whole number from 1 to 5",
		nats + "--nats-stream|ROOMS rooms/# age=1":                   "behind age= a time",
		nats + "--nats-stream|ROOMS rooms/# colour=red":              "want a filter such as rooms/#",
		nats + "--nats-stream|ROOMS # messages=5|--nats-prefix|none": "would take all subjects of the account",
		nats + "--nats-cert|a":                                       "a certificate needs both files",
		nats + "--nats-key|a":                                        "a certificate needs both files",
		nats + "--nats-user|a":                                       "--nats-user and --nats-password-file: want both",
		nats + "--nats-creds|a|--nats-nkey|b":                        "want one of them",
	} {
		expectMisuse(t, nil, append([]string{"serve"}, strings.Split(args, "|")...), want)
	}
}
