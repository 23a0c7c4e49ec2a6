"""A certificate authority for the lab, made anew for every world with the openssl command."""

import pathlib
import subprocess


def _openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True)


def make(folder: pathlib.Path, names) -> None:
    """Leaves ca.pem, cert.pem and key.pem in `folder`; the certificate is valid for every one of `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=weir lab CA",
             "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=folder)
    _openssl("req", *curve, "-keyout", "key.pem", "-out", "cert.csr", "-subj", "/CN=lab", cwd=folder)
    alternative = ",".join(("IP:" if name[0].isdigit() or ":" in name else "DNS:") + name for name in names)
    (folder / "ext").write_text(f"subjectAltName={alternative}\nbasicConstraints=CA:FALSE\n")
    _openssl("x509", "-req", "-in", "cert.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
             "-extfile", "ext", "-out", "cert.pem", cwd=folder)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).chmod(0o644)
