{{- /* Volumes of the pod, and where the server's container mounts them. */ -}}

{{- /* A name of a volume for a catalog, whose own may have other characters. */ -}}
{{- define "sightline.volume" -}}
{{ sha256sum . | trunc 8 }}
{{- end -}}

{{- define "sightline.mounts" -}}
- {name: settings, mountPath: /etc/sightline/settings, readOnly: true}
{{- if .Values.catalog.folders }}
- {name: catalog, mountPath: /catalog{{ if ne .Values.replication.role "writer" }}, readOnly: true{{ end }}}
{{- end }}
{{- range $name, $claim := .Values.replication.publications }}
- {name: publication-{{ include "sightline.volume" $name }}, mountPath: {{ printf "/publications/%s" $name }}{{ if eq $.Values.replication.role "replica" }}, readOnly: true{{ end }}}
{{- end }}
{{- if eq .Values.replication.role "replica" }}
- {name: copies, mountPath: /copies}
{{- end }}
{{- if and .Values.milvus.secret (or .Values.milvus.token .Values.milvus.ca) }}
- {name: milvus, mountPath: /etc/sightline/milvus, readOnly: true}
{{- end }}
- {name: shm, mountPath: /dev/shm}
- {name: tmp, mountPath: /tmp}
{{- if .Values.tls.secret }}
- {name: tls, mountPath: /etc/sightline/tls, readOnly: true}
{{- end }}
{{- if .Values.access.secret }}
- {name: access, mountPath: /etc/sightline/access, readOnly: true}
{{- end }}
{{- if eq .Values.engine.mode "sidecar" }}
- {name: triton, mountPath: /run/triton}
{{- else if and (eq .Values.engine.mode "remote") .Values.engine.remote.tlsSecret }}
- {name: triton-tls, mountPath: /etc/sightline/triton, readOnly: true}
{{- end }}
{{- end -}}

{{- define "sightline.volumes" -}}
- name: settings
  configMap: {name: {{ include "sightline.name" . }}-settings}
{{- if .Values.catalog.folders }}
- name: catalog
  persistentVolumeClaim: {claimName: {{ .Values.catalog.claim }}{{ if ne .Values.replication.role "writer" }}, readOnly: true{{ end }}}
{{- end }}
{{- range $name, $claim := .Values.replication.publications }}
- name: publication-{{ include "sightline.volume" $name }}
  persistentVolumeClaim: {claimName: {{ $claim }}{{ if eq $.Values.replication.role "replica" }}, readOnly: true{{ end }}}
{{- end }}
{{- if eq .Values.replication.role "replica" }}
- name: copies
  {{- with .Values.replication.copies }}
  {{- if .storageClass }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        storageClassName: {{ .storageClass }}
        resources: {requests: {storage: {{ .size }}}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .size }}}
  {{- end }}
  {{- end }}
{{- end }}
# Pixels on their way to the models; the default of 64 MiB is too small. In memory, so that photos touch no disk.
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.sharedMemory }}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- /* Secrets are mounted as folders: what is mounted with subPath is never updated. The group of the pod may read them. */}}
{{- if and .Values.milvus.secret (or .Values.milvus.token .Values.milvus.ca) }}
- name: milvus
  secret: {secretName: {{ .Values.milvus.secret }}, defaultMode: 0440}
{{- end }}
{{- with .Values.tls.secret }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.access.secret }}
- name: access
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if eq .Values.engine.mode "sidecar" }}
# Holds Triton's socket.
- name: triton
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: models
  persistentVolumeClaim: {claimName: {{ .Values.engine.sidecar.modelsClaim }}, readOnly: true}
{{- else if and (eq .Values.engine.mode "remote") .Values.engine.remote.tlsSecret }}
- name: triton-tls
  secret: {secretName: {{ .Values.engine.remote.tlsSecret }}, defaultMode: 0440}
{{- end }}
{{- end -}}
