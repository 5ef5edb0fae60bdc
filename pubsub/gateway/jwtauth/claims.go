package jwtauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/millrace/millrace/internal/shorttext"
	"github.com/millrace/millrace/pubsub/gateway"
)

// # Claims
//
// Whoever makes tokens is told which claim is wrong, and how. What the rights say counts only when the signature is good.

// claims are what of a token counts.
type claims struct {
	jwt.RegisteredClaims
	Rights json.RawMessage `json:"millrace"`
}

// claimError says what is wrong with the claims' types: it is told as it is.
type claimError string

const malformed = "the token is malformed: "

func (e claimError) Error() string { return string(e) }

// UnmarshalJSON implements json.Unmarshaler. The library takes a number in quotes for a date, which RFC 7519 section 2 does not.
func (c *claims) UnmarshalJSON(text []byte) error {
	var dates struct{ Exp, Nbf, Iat json.RawMessage }
	if err := json.Unmarshal(text, &dates); err != nil {
		return err
	}
	for _, date := range []struct {
		name string
		text json.RawMessage
	}{{"exp", dates.Exp}, {"nbf", dates.Nbf}, {"iat", dates.Iat}} {
		if err := checkDate(date.name, date.text, time.Now()); err != nil {
			return err
		}
	}
	type plain claims // without this method
	err := json.Unmarshal(text, (*plain)(c))
	if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) && kind.Field != "" {
		return claimError(malformed + kind.Field[strings.LastIndexByte(kind.Field, '.')+1:] + " can not be a JSON " + kind.Value)
	}
	return err
}

// farthest is how far ahead a date may be: milliseconds are farther.
const farthest = 100 * 365 * 24 * time.Hour

// checkDate says why a date, if there is one, is none in seconds.
func checkDate(name string, text json.RawMessage, now time.Time) error {
	if text = bytes.TrimSpace(text); len(text) == 0 || string(text) == "null" {
		return nil
	}
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return claimError(malformed + name + " is a number, the seconds since 1970, and not " + kindOf(text))
	}
	if seconds > float64(now.Add(farthest).Unix()) {
		year := time.Unix(int64(math.Min(seconds, 1e15)), 0).UTC().Year()
		return claimError(fmt.Sprintf("the token's %s is in the year %d: it is in seconds", name, year))
	}
	return nil
}

// kindOf is what a JSON text is.
func kindOf(text json.RawMessage) string {
	switch text = bytes.TrimSpace(text); text[0] {
	case '"':
		return "a text"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// noClaim is told to whom nothing is allowed.
const noClaim = "the token has no claim millrace, which says what it allows"

// rights reads the claim millrace; of a token without it there are none. hint says so.
func (c *claims) rights() (r gateway.Rights, hint string, err error) {
	if len(c.Rights) == 0 || string(c.Rights) == "null" {
		return r, noClaim, nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(c.Rights, &fields) != nil {
		return r, "", errors.New(malformed + "the claim millrace is an object, and not " + kindOf(c.Rights))
	}
	lists := map[string]*[]string{"subscribe": &r.Subscribe, "publish": &r.Publish, "presence": &r.Presence, "history": &r.History, "purge": &r.Purge}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text, list, wanted := fields[name], lists[name], "a list of texts"
		var err error
		switch {
		case name == "literal":
			wanted = "true or false"
			err = json.Unmarshal(text, &r.Literal)
		case list == nil:
			return r, "", fmt.Errorf("the token's claim millrace: no such right: %s", strconv.Quote(shorttext.Cut(name, 100)))
		default:
			err = json.Unmarshal(text, list)
		}
		if err != nil || string(text) == "null" {
			if kind := kindOf(text); kind != "a list" {
				wanted += ", and not " + kind
			}
			return r, "", errors.New(malformed + "in the claim millrace " + name + " is " + wanted)
		}
	}
	if err := r.Check(); err != nil {
		return r, "", errors.New("the token's claim millrace: " + strings.Replace(err.Error(), "pubsub: ", "", 1)) // clients know no packages
	}
	return r, "", nil
}
