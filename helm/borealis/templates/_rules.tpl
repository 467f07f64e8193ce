{{/* Rights upon objects in the namespaces that are looked after: exactly those of the operator's table of kinds. */}}
{{- define "borealis.rules.namespaced" -}}
- apiGroups: [borealis.dev]
  resources: [dbclusters]
  verbs: [get, list, patch, watch]
- apiGroups: [borealis.dev]
  resources: [dbinstances]
  verbs: [create, delete, list, patch, watch]
- apiGroups: [borealis.dev]
  resources: [snapshots]
  verbs: [list, watch]
- apiGroups: [borealis.dev]
  resources: [dbclusters/status, dbinstances/status, snapshots/status]
  verbs: [patch]
- apiGroups: [borealis.dev]
  resources: [dbclusters/finalizers]   # where owners that block deletion must be writable by who names them
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [create, delete, list, patch, watch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [create, delete, list, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [create, list, patch, watch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, get, list, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, list, patch, update]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [create, list, patch, update, watch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [create, delete, list, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, delete, list, patch]
{{- end }}

{{/* Rights upon objects that lie in no namespace: the zones of nodes. */}}
{{- define "borealis.rules.cluster" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list]
{{- end }}

{{/* Rights in the release's own namespace: of several replicas the one that holds the Lease works. */}}
{{- define "borealis.rules.own" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create, get, update]
{{- end }}
