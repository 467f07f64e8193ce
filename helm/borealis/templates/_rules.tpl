{{/* Rights upon objects in the namespaces that are looked after: each is used by operator/borealis_operator. */}}
{{- define "borealis.rules.namespaced" -}}
- apiGroups: [borealis.dev]
  resources: [dbclusters, dbinstances, snapshots]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [borealis.dev]
  resources: [dbclusters/status, dbinstances/status, snapshots/status]
  verbs: [get, update, patch]
- apiGroups: [borealis.dev]
  resources: [dbclusters/finalizers, dbinstances/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods, persistentvolumeclaims, services, secrets, configmaps]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, update, patch, delete]
{{- end }}

{{/* Rights upon objects that lie in no namespace: zones of nodes, and what kopf reads to find our kinds. */}}
{{- define "borealis.rules.cluster" -}}
- apiGroups: [""]
  resources: [nodes, namespaces]
  verbs: [get, list, watch]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [get, list, watch]
{{- end }}
