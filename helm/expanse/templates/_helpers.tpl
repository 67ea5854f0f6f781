{{/* Labels of an object. Call with (list $ "component"). */}}
{{- define "expanse.labels" -}}
{{ include "expanse.selector" (index . 1) }}
app.kubernetes.io/part-of: expanse
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end }}

{{/* The labels that tell a component's pods from others. */}}
{{- define "expanse.selector" -}}
app.kubernetes.io/name: expanse-{{ . }}
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Labels of a pod: what selects it, and the product. No mesh sidecar: a job would never end beside one, and its own ports are closed. */}}
{{- define "expanse.podLabels" -}}
{{ include "expanse.selector" . }}
app.kubernetes.io/part-of: expanse
sidecar.istio.io/inject: "false"
{{- end }}

{{/* The restricted pod security standard, for pods that we write ourselves. */}}
{{- define "expanse.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "expanse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "expanse.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where steps report: our server, the one that values name, or nowhere. */}}
{{- define "expanse.trackingUri" -}}
{{- if .Values.mlflow.enabled }}http://expanse-mlflow:5000{{ else }}{{ .Values.mlflow.externalUri }}{{ end }}
{{- end }}

{{- define "expanse.kfpHost" -}}
{{- .Values.kfp.host | default (printf "http://ml-pipeline.%s.svc.cluster.local:%d" .Values.kfp.namespace (int .Values.kfp.apiPort)) }}
{{- end }}

{{/* "yes" where MLflow keeps something on a volume of its own. */}}
{{- define "expanse.mlflowVolume" -}}
{{- if or (not .Values.mlflow.database.host) (not .Values.mlflow.artifacts.destination) }}yes{{ end }}
{{- end }}

{{/* The ConfigMap with the authority of the database's certificate, if there is one. */}}
{{- define "expanse.mlflowAuthority" -}}
{{- with .Values.mlflow.database }}{{ if .host }}{{ .caConfigMap }}{{ end }}{{ end }}
{{- end }}

{{/* Environment of MLflow's processes. libpq takes the password from PGPASSWORD, so that no URL holds it. */}}
{{- define "expanse.mlflowEnvironment" -}}
- {name: HOME, value: /tmp}
- {name: USER, value: mlflow}
{{- with .Values.mlflow.database }}
{{- if .host }}
- name: MLFLOW_BACKEND_STORE_URI
  value: {{ printf "postgresql://%s@%s:%d/%s" .user .host (int .port) .name | quote }}
- {name: PGSSLMODE, value: {{ .sslMode | quote }}}
{{- if .caConfigMap }}
- {name: PGSSLROOTCERT, value: /etc/mlflow-database/ca.crt}
{{- else if hasPrefix "verify" .sslMode }}
{{- fail (printf "mlflow.database.sslMode %s needs mlflow.database.caConfigMap, a ConfigMap with ca.crt" .sslMode) }}
{{- end }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .passwordSecret.name | quote }}, key: {{ .passwordSecret.key | quote }}}
{{- else }}
- {name: MLFLOW_BACKEND_STORE_URI, value: "sqlite:////mlflow/mlflow.db"}
{{- end }}
{{- end }}
{{- end }}

{{/* Every name of MLflow's service, with and without its port; the pod fills in its own namespace. */}}
{{- define "expanse.mlflowHosts" -}}
{{- $names := list "localhost" "127.0.0.1" "expanse-mlflow" "expanse-mlflow.$(NAMESPACE)" "expanse-mlflow.$(NAMESPACE).svc" "expanse-mlflow.$(NAMESPACE).svc.cluster.local" }}
{{- $hosts := list }}
{{- range $names }}
{{- $hosts = concat $hosts (list . (printf "%s:5000" .)) }}
{{- end }}
{{- join "," (concat $hosts .Values.mlflow.allowedHosts) }}
{{- end }}

{{/* The job that compiles recipes and uploads them. */}}
{{- define "expanse.uploadSpec" -}}
backoffLimit: 6
activeDeadlineSeconds: 1800
template:
  metadata:
    labels: {{- include "expanse.podLabels" "upload" | nindent 6 }}
  spec:
    restartPolicy: Never
    serviceAccountName: expanse-upload
    automountServiceAccountToken: false
    {{- include "expanse.pullSecrets" . | nindent 4 }}
    securityContext: {{- include "expanse.podSecurity" . | nindent 6 }}
    containers:
      - name: upload
        image: {{ .Values.images.cpu }}
        command: [python, -m, pipelines.cli, upload]
        args:
          - --host={{ include "expanse.kfpHost" . }}
          {{- if .Values.pipelines.token }}
          - --namespace=$(NAMESPACE)
          {{- end }}
          {{- range .Values.pipelines.recipes }}
          - --recipe={{ . }}
          {{- end }}
          {{- range $name, $recipe := .Values.pipelines.ownRecipes }}
          - --recipe=/recipes/{{ $name }}.yaml
          {{- end }}
        env:
          - {name: HOME, value: /tmp}
          {{- if .Values.pipelines.token }}
          - {name: KF_PIPELINES_SA_TOKEN_PATH, value: /var/run/secrets/kubeflow/pipelines/token}
          - name: NAMESPACE
            valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
          {{- end }}
        resources:
          requests: {cpu: 500m, memory: 512Mi, ephemeral-storage: 256Mi}
          limits: {cpu: "1", memory: 1Gi, ephemeral-storage: 1Gi}
        securityContext: {{- include "expanse.containerSecurity" . | nindent 10 }}
        volumeMounts:
          - {name: temporary, mountPath: /tmp}
          {{- if .Values.pipelines.ownRecipes }}
          - {name: recipes, mountPath: /recipes, readOnly: true}
          {{- end }}
          {{- if .Values.pipelines.token }}
          - {name: token, mountPath: /var/run/secrets/kubeflow/pipelines, readOnly: true}
          {{- end }}
    volumes:
      - name: temporary
        emptyDir: {sizeLimit: 1Gi}
      {{- if .Values.pipelines.ownRecipes }}
      - name: recipes
        configMap: {name: expanse-recipes}
      {{- end }}
      {{- if .Values.pipelines.token }}
      - name: token
        projected:
          sources:
            - serviceAccountToken: {path: token, audience: pipelines.kubeflow.org, expirationSeconds: 3600}
      {{- end }}
{{- end }}

{{/* Refuse a free-form value that holds what looks like a secret. Call with (list "name of the value" value). */}}
{{- define "expanse.noSecrets" -}}
{{- $found := regexFind "(?i)\"[a-z_]*(password|passwd|secret_?key|access_?key|api_?key|token)\": ?\"[^\"]" (index . 1 | toJson) }}
{{- if $found }}
{{- fail (printf "%s holds what looks like a secret (%s); name a Secret there instead" (index . 0) (regexReplaceAll "\":.*" (trimPrefix "\"" $found) "")) }}
{{- end }}
{{- end }}
