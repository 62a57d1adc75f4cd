"""The trial of int8 for the detector on CPUs without bf16 (docs/design/adr/0054-the-detector-stays-out-of-int8.md)."""
