package gateway_test

import (
	"testing"

	"github.com/millrace/millrace/pubsub/gateway"
)

// TestHint: who lacks a right is told what his authenticator knows of that, and who does not lack it is not.
func TestHint(t *testing.T) {
	t.Parallel()
	hinted := tokens{"ann": {Hint: "the token names none", Rights: gateway.Rights{Publish: []string{"a"}}}}
	r := newRig(t, gateway.Options{Auth: []gateway.Authenticator{hinted}, Anonymous: nothing})
	a := r.expect(403, "forbidden", "POST", "/topics/b", "x", "Authorization: Bearer ann")
	if want := `{"error":"forbidden","message":"no right to publish to \"b\": the token names none"}` + "\n"; a.body != want {
		t.Errorf("%s, want %s", a.body, want)
	}
	r.expect(200, `"members":0`, "POST", "/topics/a", "x", "Authorization: Bearer ann")
}
