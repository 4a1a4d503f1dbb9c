{{- /* A setting's value as text. Helm reads numbers as floats, which print as 1e+06. */ -}}
{{- define "dispatcher.text" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ toString . }}{{ end -}}
{{- end -}}

{{- /* The value of a setting, as text; a default if it is not set: (list . NAME DEFAULT). */ -}}
{{- define "dispatcher.setting" -}}
{{- $root := index . 0 -}}
{{- $settings := $root.Values.settings -}}
{{- $name := index . 1 -}}
{{- if hasKey $settings $name }}{{ include "dispatcher.text" (index $settings $name) }}{{ else }}{{ index . 2 }}{{ end -}}
{{- end -}}

{{- define "dispatcher.priorityClass" -}}
{{- .Values.priorityClass.name | default (ternary .Release.Name "" .Values.priorityClass.create) -}}
{{- end -}}

{{- define "dispatcher.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{- /* The admin port: what is set, or what monitoring needs; 0 if it is off. */ -}}
{{- define "dispatcher.adminPort" -}}
{{- int .Values.admin.port | default (ternary 8090 0 .Values.monitoring.enabled) -}}
{{- end -}}

{{- /* Whether the routers read what is published: "true", or empty. */ -}}
{{- define "dispatcher.readsPublished" -}}
{{- with .Values.published }}{{ if and .enabled .read }}true{{ end }}{{ end -}}
{{- end -}}

{{- /* The Namespace of what is published. Another release has another one. */ -}}
{{- define "dispatcher.publishedNamespace" -}}
{{- include "dispatcher.setting" (list . "PUBLISHED_NAMESPACE" (printf "%s-published" .Release.Name)) -}}
{{- end -}}

{{- /* The variables of routers and publishers that values other than `settings` set. */ -}}
{{- define "dispatcher.commonSettings" -}}
{{- if .Values.tls.secretName }}
SSL_CERT: /run/tls/tls.crt
SSL_KEY: /run/tls/tls.key
{{- end }}
{{- if ne (include "dispatcher.adminPort" .) "0" }}
ADMIN_PORT: {{ include "dispatcher.adminPort" . | quote }}
ADMIN_ADDRESS: {{ ternary "0.0.0.0" .Values.admin.address .Values.monitoring.enabled | quote }}
{{- end }}
{{- end -}}

{{- /* The variables of routers that values other than `settings` set. Whoever reads the cluster tells Events. */ -}}
{{- define "dispatcher.derivedSettings" -}}
{{- include "dispatcher.commonSettings" . }}
{{- if include "dispatcher.readsPublished" . }}
SNAPSHOT_FROM: published
{{- if .Values.published.fallback }}
SNAPSHOT_FALLBACK: cluster
{{- end }}
{{- else if .Values.events.enabled }}
EVENTS: "on"
{{- end }}
{{- end -}}

{{- /* The variables of publishers: those of `settings` that are not about nginx's traffic or files, and their own. */ -}}
{{- define "dispatcher.publisherSettings" -}}
{{- include "dispatcher.commonSettings" . }}
{{- if .Values.events.enabled }}
EVENTS: "on"
{{- end }}
{{- range $name, $value := omit .Values.settings "ACCESS_LOG" "REQUEST_METRICS" "SSL_CERT_DIR" }}
{{ $name }}: {{ include "dispatcher.text" $value | quote }}
{{- end }}
{{- end -}}

{{- /* The name of the Namespace, if it is not the program's default. */ -}}
{{- define "dispatcher.publishedSettings" -}}
{{- $namespace := include "dispatcher.publishedNamespace" . -}}
{{- if and .Values.published.enabled (ne $namespace "dispatcher-published") }}
PUBLISHED_NAMESPACE: {{ $namespace | quote }}
{{- end }}
{{- end -}}

{{- /* What a role needs for the lists of a reader of the cluster. */ -}}
{{- define "dispatcher.listRules" -}}
- apiGroups: [""]
  resources: [namespaces, pods]
  verbs: [list]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "dispatcher.setting" (list . "API_KEY_SECRET_NAME" "routing") | quote }}]
  verbs: [list]
{{- end -}}

{{- /* A file of overlays/admission, with the label and annotations that the settings name. */ -}}
{{- define "dispatcher.policy" -}}
{{- $root := index . 0 -}}
{{- $selector := include "dispatcher.setting" (list $root "ROUTABLE_LABEL_SELECTOR" "github.com/30x.dispatcher.routable=true") -}}
{{- if not (regexMatch "^[A-Za-z0-9./_-]+=true$" $selector) -}}
{{- fail "admissionPolicy needs a ROUTABLE_LABEL_SELECTOR of the form LABEL=true" -}}
{{- end -}}
{{- $root.Files.Get (index . 1)
    | replace "github.com/30x.dispatcher.routable" (trimSuffix "=true" $selector)
    | replace "github.com/30x.dispatcher.hosts" (include "dispatcher.setting" (list $root "HOSTS_ANNOTATION" "github.com/30x.dispatcher.hosts"))
    | replace "github.com/30x.dispatcher.paths" (include "dispatcher.setting" (list $root "PATHS_ANNOTATION" "github.com/30x.dispatcher.paths"))
    | replace "dispatcher-hosts" (printf "%s-hosts" $root.Release.Name)
    | replace "dispatcher-paths" (printf "%s-paths" $root.Release.Name)
    | replace "[Warn]" (printf "[%s]" $root.Values.admissionPolicy.action) -}}
{{- end -}}
