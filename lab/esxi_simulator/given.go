package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"path"
)

// givenElements is the context's key of the elements that a request holds. In Go's types an element with the value zero
// or "" and one that is missing look the same, but the first sets a value and the second leaves it.
type givenElements struct{}

// elementsOf lists a request's elements by their path below the method: "spec/defaults/startDelay".
func elementsOf(body []byte) map[string]bool {
	const envelope = 3 // Envelope, Body and the method
	found := map[string]bool{}
	var open []string
	decoder := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := decoder.Token()
		if err != nil {
			return found // the end, or what the real decoder refused already
		}
		switch element := token.(type) {
		case xml.StartElement:
			open = append(open, element.Name.Local)
			if len(open) > envelope {
				found[path.Join(open[envelope:]...)] = true
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
}

func given(ctx context.Context, element string) bool {
	elements, _ := ctx.Value(givenElements{}).(map[string]bool)
	return elements[element]
}
