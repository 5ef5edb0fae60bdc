package servertest

import "testing"

// Misused is a client of s whose failures are those of another test.
func Misused(t testing.TB, s *Server) *Client {
	c := s.Connect("/")
	c.t = t
	return c
}
