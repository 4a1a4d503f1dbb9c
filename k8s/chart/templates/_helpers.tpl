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

{{- /* The variables that values other than `settings` set. */ -}}
{{- define "dispatcher.derivedSettings" -}}
{{- if .Values.tls.secretName }}
SSL_CERT: /run/tls/tls.crt
SSL_KEY: /run/tls/tls.key
{{- end }}
{{- if .Values.events.enabled }}
EVENTS: "on"
{{- end }}
{{- if ne (include "dispatcher.adminPort" .) "0" }}
ADMIN_PORT: {{ include "dispatcher.adminPort" . | quote }}
ADMIN_ADDRESS: {{ ternary "0.0.0.0" .Values.admin.address .Values.monitoring.enabled | quote }}
{{- end }}
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
