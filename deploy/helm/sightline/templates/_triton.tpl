{{- /*
NVIDIA's Triton as a sidecar (restartPolicy: Always): it ends after the server, so that accepted calls keep their models.

Anyone who can reach Triton's gRPC service reads photos and loads models. It listens on a socket in memory that only
these two containers mount, and on no port: neither other pods nor sidecars that a mesh adds can connect. Triton appends
the number of --grpc-port to the path.
*/ -}}

{{- define "sightline.triton" -}}
- name: triton
  image: {{ .Values.engine.sidecar.image }}
  restartPolicy: Always
  args:
    - tritonserver
    - --model-repository=/models
    - --model-control-mode=explicit
    {{- range .Values.engine.sidecar.models }}
    - --load-model={{ . }}
    {{- end }}
    - --allow-http=false
    - --grpc-address=unix:/run/triton/grpc
    - --grpc-port=8001
    - --metrics-port=8002
  env:
    # ONNX Runtime 1.29 and newer sends telemetry otherwise (docs/operate/privacy.md).
    - {name: ORT_DISABLE_TELEMETRY, value: "1"}
  ports:
    - {name: triton-metrics, containerPort: 8002}
  resources: {{- toYaml .Values.engine.sidecar.resources | nindent 4 }}
  securityContext: {{- include "sightline.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: triton, mountPath: /run/triton}
    - {name: shm, mountPath: /dev/shm}
    - {name: models, mountPath: /models, readOnly: true}
{{- end -}}
