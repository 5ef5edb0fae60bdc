package gateway_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/pubsub/gateway"
)

// docs/envelope.schema.json is read here as far as it goes: a keyword that is not known fails the test.

var readSchema = sync.OnceValues(func() (whole map[string]any, err error) {
	text, err := os.ReadFile("../../docs/envelope.schema.json")
	if err == nil {
		err = json.Unmarshal(text, &whole)
	}
	return whole, err
})

// conform fails the test if a text is not as a definition says.
func conform(t *testing.T, definition, text string) {
	t.Helper()
	if problem := schemaProblem(t, definition, text); problem != "" {
		t.Errorf("%s is no %s: %s", text, definition, problem)
	}
}

func schemaProblem(t *testing.T, definition, text string) string {
	t.Helper()
	whole, err := readSchema()
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err.Error()
	}
	return validate(whole, map[string]any{"$ref": "#/$defs/" + definition}, v)
}

// validate says what of a value is not as a schema wants it; "" is nothing.
func validate(whole, schema map[string]any, v any) string {
	object, _ := v.(map[string]any)
	for keyword, want := range schema {
		problem := ""
		switch keyword {
		case "$schema", "$defs", "title", "description", "additionalProperties":
		case "$ref":
			defs := whole["$defs"].(map[string]any)
			problem = validate(whole, defs[strings.TrimPrefix(want.(string), "#/$defs/")].(map[string]any), v)
		case "oneOf":
			var problems []string
			for _, one := range want.([]any) {
				if p := validate(whole, one.(map[string]any), v); p != "" {
					problems = append(problems, p)
				}
			}
			if len(problems) != len(want.([]any))-1 {
				problem = fmt.Sprintf("%v fits %d of them: %q", v, len(want.([]any))-len(problems), problems)
			}
		case "required":
			for _, name := range want.([]any) {
				if _, ok := object[name.(string)]; !ok {
					problem = fmt.Sprintf("%v is missing", name)
				}
			}
		case "properties":
			for name, value := range object {
				of, known := want.(map[string]any)[name].(map[string]any)
				if !known && schema["additionalProperties"] == false {
					problem = name + " is unknown"
				} else if p := validate(whole, of, value); known && p != "" {
					problem = name + ": " + p
				}
			}
		default:
			problem = validateValue(keyword, want, v)
		}
		if problem != "" {
			return problem
		}
		if keyword == "items" {
			for _, item := range v.([]any) {
				if p := validate(whole, want.(map[string]any), item); p != "" {
					return p
				}
			}
		}
	}
	return ""
}

// validateValue is validate for keywords of plain values.
func validateValue(keyword string, want, v any) string {
	ok := false
	text, _ := v.(string)
	number, _ := v.(float64)
	switch keyword {
	case "type":
		is := map[string]any{"string": "", "number": 0.0, "integer": 0.0, "boolean": false, "object": map[string]any{}, "array": []any{}}[want.(string)]
		ok = reflect.TypeOf(is) == reflect.TypeOf(v) && (want != "integer" || number == float64(int64(number)))
	case "items":
		ok = true
	case "const":
		ok = v == want
	case "enum":
		ok = slices.Contains(want.([]any), v)
	case "minLength":
		ok = utf8.RuneCountInString(text) >= int(want.(float64))
	case "minimum":
		ok = number >= want.(float64)
	case "maximum":
		ok = number <= want.(float64)
	case "pattern":
		ok = regexp.MustCompile(want.(string)).MatchString(text)
	}
	if !ok {
		return fmt.Sprintf("%v is not as %s %v says", v, keyword, want)
	}
	return ""
}

// TestSchemaAgrees: what the server takes fits the schema, and what it calls malformed does not.
func TestSchemaAgrees(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	for text, want := range map[string]bool{
		`{"id":1,"subscribe":"a","since":""}`:                   true,
		`{"id":1,"subscribe":"a","since":"","last":0}`:          true,
		`{"id":1,"subscribe":"a","info":null}`:                  true,
		`{"id":1,"subscribe":"a","since":null}`:                 false,
		`{"id":1,"subscribe":"a","since":"x"}`:                  false,
		`{"id":1,"ping":true,"since":""}`:                       false,
		`{"id":1,"ping":true,"last":0}`:                         false,
		`{"id":1,"ping":true,"info":null}`:                      false,
		`{"id":1,"publish":"a","data":"","key":"","kept":true}`: true,
		`{"id":1,"publish":"a","data":"\ud83d\ude00\\ud800\""}`: true,
		`{"id":1,"publish":"a","data":"","expires":0}`:          false,
		`{"id":1,"publish":"a","data":"","expires":0.001}`:      true,
		`{"id":1,"publish":"a","data":"","expires":86401}`:      false,
		`{"id":1,"publish":"a","data":"","since":""}`:           false,
		`{"id":1,"publish":"a","data":null}`:                    false,
		`{"id":1,"publish":"a","binary":""}`:                    true,
		`{"id":1,"publish":"a","binary":"AP8="}`:                true,
		`{"id":1,"publish":"a","binary":"AP8"}`:                 false,
		`{"id":1,"publish":"a","binary":"A==="}`:                false,
		`{"id":1,"publish":"a","binary":"AP8=AP8="}`:            false,
		`{"id":1,"Publish":"a","data":""}`:                      false,
		` {"id" : 1 , "ping" : true } `:                         true,
		`{"ping":true,"id":9007199254740991}`:                   true,
		`{"i\u0064":1,"ping":true}`:                             true,
	} {
		c := r.connect("/topics?envelope=1")
		c.SendText(text)
		if answer := c.ReceiveText(); strings.Contains(answer, `"ok":true`) != want {
			t.Errorf("%s: %s", text, answer)
		}
		if problem := schemaProblem(t, "fromClient", text); (problem == "") != want {
			t.Errorf("%s: %q", text, problem)
		}
	}
}

// TestSchema: the schema takes what is right, and nothing else.
func TestSchema(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"id":1,"subscribe":"a/#","since":"A-1","last":5,"info":{"a":[1]}}`:          "fromClient",
		`{"id":1,"unsubscribe":"a"}`:                                                  "fromClient",
		`{"id":1,"publish":"a","data":"","key":"k","expires":0.5,"kept":false}`:       "fromClient",
		`{"id":1,"publish":"a","binary":"AP8="}`:                                      "fromClient",
		`{"id":1,"token":"x"}`:                                                        "fromClient",
		`{"id":1,"ping":true}`:                                                        "fromClient",
		`{"id":1,"ping":false}`:                                                       "",
		`{"id":0,"ping":true}`:                                                        "",
		`{"id":1.5,"ping":true}`:                                                      "",
		`{"id":1,"ping":true,"token":"x"}`:                                            "",
		`{"id":1,"publish":"a"}`:                                                      "",
		`{"id":1,"publish":"a","data":"","binary":""}`:                                "",
		`{"id":1,"subscribe":""}`:                                                     "",
		`{"id":1,"subscribe":"a","since":"x"}`:                                        "",
		`{"topic":"a","position":"A-1","time":"2026-11-27T08:00:00.000Z","data":"x"}`: "fromServer",
		`{"topic":"a","position":"A-1","time":"2026-11-27T08:00:00Z","data":"x"}`:     "",
		`{"topic":"a","position":"A-1","kept":true,"time":"2026-11-27T08:00:00.000Z","data":"x"}`: "",
		`{"id":1,"error":"forbidden","message":"no"}`:                                             "fromServer",
		`{"id":1,"error":"no","message":"no"}`:                                                    "",
		`{"id":1,"ok":true,"unsubscribed":["a"]}`:                                                 "fromServer",
		`{"id":1,"ok":true,"unsubscribed":[""]}`:                                                  "",
		`{"missed":0}`:                                                                            "",
		`{}`:                                                                                      "",
		`[]`:                                                                                      "",
	} {
		for _, definition := range []string{"fromClient", "fromServer"} {
			if problem := schemaProblem(t, definition, text); (problem == "") != (definition == want) {
				t.Errorf("%s as %s: %q", text, definition, problem)
			}
		}
	}
}
