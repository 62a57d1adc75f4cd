{{- /* SERVING: a search would be admitted, engine and index included. The kubelet's own probe has no TLS. */ -}}

{{- define "sightline.probe" -}}
{{- if .Values.tls.secret -}}
exec:
  command: {{- toYaml .Values.tls.probe | nindent 4 }}
{{- else -}}
grpc: {port: 50051, service: sightline.v1.LensService}
{{- end }}
{{- end -}}
