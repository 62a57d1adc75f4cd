"""The checks of the Helm chart in `deploy/helm/sightline`: `python -m scripts.chart`."""
