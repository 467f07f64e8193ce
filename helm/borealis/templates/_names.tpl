{{- define "borealis.name" -}}
{{- if eq .Release.Name .Chart.Name }}{{ .Chart.Name }}-operator{{ else }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}-{{ .Chart.Name }}-operator{{ end }}
{{- end }}

{{- define "borealis.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "borealis.name" .) }}
{{- end }}

{{- define "borealis.selector" -}}
app.kubernetes.io/name: borealis-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "borealis.peer" -}}
{{- dict
  "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace))
  "podSelector" (dict "matchLabels" (include "borealis.selector" . | fromYaml))
| toJson }}
{{- end }}

{{- define "borealis.labels" -}}
{{ include "borealis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: borealis
{{- end }}

{{- define "borealis.image" -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .image }}
{{- end }}

{{- define "borealis.engineImages" -}}
{{- $images := dict }}
{{- range $major, $image := .Values.engine.images }}
{{- $_ := set $images $major (include "borealis.image" (dict "registry" $.Values.registry "image" $image)) }}
{{- end }}
{{- $images | toJson }}
{{- end }}
