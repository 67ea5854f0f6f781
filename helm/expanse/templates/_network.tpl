{{/*
One NetworkPolicy. Call with a dict of root, name, who it is about (component, or pods: labels of which an empty value means
that the label exists), and peers to open: ingress and egress, or neither (deny).
Peers that come to nothing open nothing: an empty list of peers would mean all of them to Kubernetes.
*/}}
{{- define "expanse.policy" -}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: expanse-{{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "expanse.labels" (list .root "network") | nindent 4 }}
spec:
  {{- $pods := include "expanse.pods" . | trim }}
  podSelector: {{ eq $pods "{}" | ternary "{}" ($pods | nindent 4) }}
  policyTypes: {{ if .deny }}[Ingress, Egress]{{ else }}{{ list (hasKey . "ingress" | ternary "Ingress" "") (hasKey . "egress" | ternary "Egress" "") | compact | toJson }}{{ end }}
  {{- with include "expanse.rules" (dict "root" .root "peers" .ingress "word" "from") }}
  ingress:
    {{- . | trim | nindent 4 }}
  {{- end }}
  {{- with include "expanse.rules" (dict "root" .root "peers" .egress "word" "to") }}
  egress:
    {{- . | trim | nindent 4 }}
  {{- end }}
{{ end }}

{{- define "expanse.rules" -}}
{{- $root := .root }}
{{- $word := .word }}
{{- range .peers }}
{{- if or .cidrs .namespaces .pods .component }}
- {{ $word }}:
  {{- range .cidrs }}
    - ipBlock:
        cidr: {{ . }}
        {{- /* The cloud's metadata services hand out the node's credentials. */}}
        {{- if eq . "0.0.0.0/0" }}
        except: [169.254.169.254/32, 100.100.100.200/32]
        {{- else if eq . "::/0" }}
        except: ["fd00:ec2::254/128"]
        {{- end }}
  {{- end }}
  {{- range .namespaces }}
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ . | quote }}}
  {{- end }}
  {{- if or .pods .component }}
    - podSelector: {{- include "expanse.pods" (dict "root" $root "pods" .pods "component" .component) | trim | nindent 8 }}
  {{- end }}
  {{- if .ports }}
  {{- $protocols := .protocols | default (list "TCP") }}
  ports:
  {{- range $port := .ports }}
  {{- range $protocols }}
    - {protocol: {{ . }}, port: {{ $port }}}
  {{- end }}
  {{- end }}
  {{- end }}
{{ end }}
{{- end }}
{{- end }}

{{/* A pod selector; where the namespace is shared, only of pods of this product. */}}
{{- define "expanse.pods" -}}
{{- $labels := dict }}
{{- if .component }}{{ $labels = fromYaml (include "expanse.selector" .component) }}{{ end }}
{{- if not .root.Values.networkPolicies.wholeNamespace }}{{ $labels = set $labels "app.kubernetes.io/part-of" "expanse" }}{{ end }}
{{- if .pods }}
matchExpressions:
{{- range $key, $_ := .pods }}
  - {key: {{ $key }}, operator: Exists}
{{- end }}
{{- end }}
{{- if $labels }}
matchLabels: {{- toYaml $labels | nindent 2 }}
{{- end }}
{{- if not (or .pods $labels) }}
{}
{{- end }}
{{- end }}
