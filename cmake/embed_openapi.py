"""docs/openapi.yaml as JSON in a C++ file: python3 embed_openapi.py IN OUT"""
import json
import sys

import yaml

source, target = sys.argv[1:]
with open(source, encoding="utf-8") as file:
    text = json.dumps(yaml.safe_load(file), separators=(",", ":"), ensure_ascii=True)
pieces = [text[i:i + 8000] for i in range(0, len(text), 8000)]
with open(target, "w", encoding="ascii") as file:
    file.write("// Made from docs/openapi.yaml by cmake/embed_openapi.py.\n#include \"daemon/information.h\"\n\n"
               "namespace weir::daemon {\n\nstd::string_view openapi_document() {\n  return\n")
    file.writelines("      " + json.dumps(piece) + "\n" for piece in pieces)
    file.write("      ;\n}\n\n}  // namespace weir::daemon\n")
