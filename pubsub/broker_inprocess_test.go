package pubsub_test

import (
	"testing"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/brokertest"
)

// TestInProcess holds the broker of one process to the contract.
func TestInProcess(t *testing.T) {
	brokertest.Test(t, func(*testing.T) pubsub.Broker { return pubsub.InProcess() })
}
