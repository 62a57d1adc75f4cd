"""Models of transformers and timm as files that keep the contract of a model.

Place in the flow: `models export` -> a network in PyTorch -> one ONNX file, compared with the network. The one rule:
nothing else imports this package, whose modules need the extra `export`; `require_packages` is called first.
"""
