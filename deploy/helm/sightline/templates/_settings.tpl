{{- /*
The server's settings: those of the user and, over them, those that the chart decides. values.schema.json refuses a
setting of the user that the chart decides, so that none is replaced without a message.
*/ -}}

{{- define "sightline.settings" -}}
{{- $server := dict "listen" "0.0.0.0:50051" "metrics_listen" "0.0.0.0:9464" "metrics_insecure" true -}}
{{- if eq .Values.replication.role "writer" -}}
{{- $_ := set $server "catalog_listen" "0.0.0.0:50052" -}}
{{- end -}}
{{- if .Values.tls.secret -}}
{{- $_ := set $server "tls_cert" "/etc/sightline/tls/tls.crt" -}}
{{- $_ := set $server "tls_key" "/etc/sightline/tls/tls.key" -}}
{{- if .Values.tls.mutual -}}{{- $_ := set $server "tls_client_ca" "/etc/sightline/tls/ca.crt" -}}{{- end -}}
{{- else -}}
{{- $_ := set $server "insecure" true -}}
{{- end -}}
{{- $catalogs := dict -}}
{{- range $name, $folder := .Values.catalog.folders -}}
{{- $_ := set $catalogs $name (dict "path" (printf "/catalog/%s" $folder)) -}}
{{- end -}}
{{- range $name, $claim := .Values.replication.publications -}}
{{- $folder := printf "/publications/%s" $name -}}
{{- if eq $.Values.replication.role "writer" -}}
{{- if not (hasKey $catalogs $name) -}}
{{- fail (printf "replication.publications names %s, and catalog.folders has no such catalog" $name) -}}
{{- end -}}
{{- $_ := set (get $catalogs $name) "publish" $folder -}}
{{- else if hasKey $catalogs $name -}}
{{- fail (printf "replication.publications and catalog.folders both name %s: a replica has only a copy of it" $name) -}}
{{- else -}}
{{- $_ := set $catalogs $name (dict "path" (printf "/copies/%s" $name) "follow" $folder) -}}
{{- end -}}
{{- end -}}
{{- range $name := .Values.milvus.catalogs -}}
{{- if hasKey $catalogs $name -}}
{{- fail (printf "milvus.catalogs and another group both name %s: give one of them another name" $name) -}}
{{- end -}}
{{- $_ := set $catalogs $name (include "sightline.milvus" $ | fromYaml) -}}
{{- end -}}
{{- if not $catalogs -}}
{{- fail "there is no catalog to serve: name its folder in catalog.folders, its name in milvus.catalogs, or its claim in replication.publications" -}}
{{- end -}}
{{- $decided := dict "server" $server "catalogs" $catalogs "engine" (include "sightline.engine" . | fromYaml) -}}
{{- if .Values.access.secret -}}
{{- $_ := set $decided "access" (include "sightline.access" . | fromYaml) -}}
{{- end -}}
{{- toToml (mustMergeOverwrite (deepCopy .Values.settings) $decided) -}}
{{- end -}}

{{- define "sightline.milvus" -}}
backend: milvus
uri: {{ .Values.milvus.uri | quote }}
{{- if .Values.milvus.token }}
token_file: /etc/sightline/milvus/token
{{- end }}
{{- if .Values.milvus.ca }}
ca_file: /etc/sightline/milvus/ca.crt
{{- end }}
{{- end -}}

{{- define "sightline.access" -}}
policy_file: /etc/sightline/access/policy.toml
{{- if .Values.access.keys }}
keys_file: /etc/sightline/access/keys.json
{{- end }}
{{- if .Values.access.tokens }}
jwks_file: /etc/sightline/access/jwks.json
{{- end }}
{{- end -}}

{{- define "sightline.engine" -}}
{{- if eq .Values.engine.mode "sidecar" -}}
triton_url: unix:/run/triton/grpc:8001
# How long the server waits for Triton's models.
start_timeout_s: 180
{{- else if eq .Values.engine.mode "remote" -}}
{{- with .Values.engine.remote -}}
triton_url: {{ .url | quote }}
{{- if .tlsSecret }}
triton_tls: true
triton_tls_ca: /etc/sightline/triton/ca.crt
{{- if .mutual }}
triton_tls_cert: /etc/sightline/triton/tls.crt
triton_tls_key: /etc/sightline/triton/tls.key
{{- end }}
{{- with .tlsName }}
triton_tls_name: {{ . | quote }}
{{- end }}
{{- else }}
triton_insecure: {{ .insecure }}
{{- end }}
{{- end -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}
