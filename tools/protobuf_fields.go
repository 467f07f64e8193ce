// Writes local/borealis_local/machinery/protobuf.json from the tags of Kubernetes' Go types: what each field is in
// protobuf and in JSON. It is run by hand when local mode serves another kind: in a module that requires k8s.io/api,
// `go run protobuf_fields.go > protobuf.json`; last with v0.37.0.
package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"

	admission "k8s.io/api/admissionregistration/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	storage "k8s.io/api/storage/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// roots are the kinds that local mode serves, and the body of a deletion.
var roots = map[string][]any{
	"v1": {core.Namespace{}, core.Node{}, core.Pod{}, core.Service{}, core.Endpoints{}, core.Secret{}, core.ConfigMap{},
		core.Event{}, core.PersistentVolumeClaim{}, core.PersistentVolume{}, core.ServiceAccount{}, meta.DeleteOptions{}},
	"discovery.k8s.io/v1":    {discovery.EndpointSlice{}},
	"coordination.k8s.io/v1": {coordination.Lease{}},
	"events.k8s.io/v1":       {events.Event{}},
	"storage.k8s.io/v1":      {storage.StorageClass{}},
	"autoscaling/v2":         {autoscaling.HorizontalPodAutoscaler{}},
	"networking.k8s.io/v1":   {networking.NetworkPolicy{}},
	"policy/v1":              {policy.PodDisruptionBudget{}},
	"admissionregistration.k8s.io/v1": {admission.ValidatingAdmissionPolicy{},
		admission.ValidatingAdmissionPolicyBinding{}},
}

// special are the types with a JSON form of their own.
var special = map[string]string{"Time": "time", "MicroTime": "microtime", "Quantity": "quantity",
	"IntOrString": "intorstring", "FieldsV1": "raw", "RawExtension": "raw"}

// Field is what the decoder must know of one field of a message.
type field struct {
	name string // in JSON; "-" where its fields stand in the message that holds it
	kind string
	keep bool // whether JSON has it though it is zero
}

var messages = map[string]map[string]field{}

func nameOf(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")
	return parts[len(parts)-2] + "." + t.Name()
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "int"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "[]" + kindOf(t.Elem())
	case reflect.Map:
		return "map:" + kindOf(t.Elem())
	case reflect.Struct:
		if own, found := special[t.Name()]; found {
			return own
		}
		walk(t)
		return nameOf(t)
	}
	panic("no form for " + t.String())
}

func walk(t reflect.Type) {
	if messages[nameOf(t)] != nil {
		return
	}
	fields := map[string]field{}
	messages[nameOf(t)] = fields
	for i := range t.NumField() {
		f := t.Field(i)
		protobuf := strings.Split(f.Tag.Get("protobuf"), ",")
		if len(protobuf) < 2 {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && f.Anonymous {
			name = "-"
		}
		if name == "" {
			panic("no name in JSON: " + t.String() + "." + f.Name)
		}
		keep := f.Type.Kind() == reflect.Pointer || !strings.Contains(options, "omitempty")
		fields[protobuf[1]] = field{name: name, kind: kindOf(f.Type), keep: keep}
	}
}

func main() {
	kinds := map[string]string{}
	for version, list := range roots {
		for _, one := range list {
			t := reflect.TypeOf(one)
			walk(t)
			kinds[version+"/"+t.Name()] = nameOf(t)
		}
	}
	names := []string{}
	for name := range messages {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Println("{")
	line, _ := json.Marshal(kinds)
	fmt.Printf(" \"kinds\": %s", line)
	for _, name := range names {
		fields := map[string][]any{}
		for number, f := range messages[name] {
			fields[number] = []any{f.name, f.kind}
			if f.keep {
				fields[number] = append(fields[number], 1)
			}
		}
		line, _ := json.Marshal(fields)
		fmt.Printf(",\n %q: %s", name, line)
	}
	fmt.Println("\n}")
}
