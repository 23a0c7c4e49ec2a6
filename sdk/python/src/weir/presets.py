"""Host lists by name: the sets of `data/sets`, and what `CLOUD_METADATA_DENY` names.

A unit test (`tests/unit/policy/sdk_presets_test.cc`) compares: a set that changes there is changed here.
"""

from typing import Final

__all__ = [
    "ALPINE_HOSTS",
    "CLOUD_METADATA_DENY",
    "CONDA_HOSTS",
    "CRAN_HOSTS",
    "CRATES_HOSTS",
    "DEBIAN_HOSTS",
    "DOCKER_HOSTS",
    "FEDORA_HOSTS",
    "GITHUB_HOSTS",
    "GITLAB_HOSTS",
    "GOPROXY_HOSTS",
    "HUGGINGFACE_HOSTS",
    "MAVEN_HOSTS",
    "NODE_HOSTS",
    "NPM_HOSTS",
    "NUGET_HOSTS",
    "PACKAGIST_HOSTS",
    "PYPI_HOSTS",
    "RUBYGEMS_HOSTS",
    "RUSTUP_HOSTS",
    "UBUNTU_HOSTS",
]

ALPINE_HOSTS: Final = ("dl-cdn.alpinelinux.org",)
CONDA_HOSTS: Final = (
    "repo.anaconda.com",
    "conda.anaconda.org",
    "anaconda.org",
    "binstar-cio-packages-prod.s3.amazonaws.com",
)
CRAN_HOSTS: Final = (
    "cran.r-project.org",
    "cloud.r-project.org",
)
CRATES_HOSTS: Final = (
    "crates.io",
    "index.crates.io",
    "static.crates.io",
)
DEBIAN_HOSTS: Final = (
    "deb.debian.org",
    "security.debian.org",
    "ftp.debian.org",
    "cdn-fastly.deb.debian.org",
    "snapshot.debian.org",
)
DOCKER_HOSTS: Final = (
    "registry-1.docker.io",
    "auth.docker.io",
    "index.docker.io",
    "hub.docker.com",
    "production.cloudflare.docker.com",
    "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
)
FEDORA_HOSTS: Final = (
    "mirrors.fedoraproject.org",
    "dl.fedoraproject.org",
    "download.fedoraproject.org",
    "fedoraproject-updates-archive.fedoraproject.org",
)
GITHUB_HOSTS: Final = (
    "github.com",
    "api.github.com",
    "codeload.github.com",
    "raw.githubusercontent.com",
    "objects.githubusercontent.com",
    "release-assets.githubusercontent.com",
    "media.githubusercontent.com",
    "github-cloud.githubusercontent.com",
    "uploads.github.com",
    "gist.github.com",
    "ghcr.io",
    "pkg-containers.githubusercontent.com",
)
GITLAB_HOSTS: Final = (
    "gitlab.com",
    "registry.gitlab.com",
    "cdn.registry.gitlab-static.net",
)
GOPROXY_HOSTS: Final = (
    "proxy.golang.org",
    "sum.golang.org",
    "go.dev",
    "dl.google.com",
)
HUGGINGFACE_HOSTS: Final = (
    "huggingface.co",
    "cdn-lfs.huggingface.co",
    "cdn-lfs-us-1.hf.co",
    "cdn-lfs-eu-1.hf.co",
    "cas-bridge.xethub.hf.co",
    "cas-server.xethub.hf.co",
    "transfer.xethub.hf.co",
)
MAVEN_HOSTS: Final = (
    "repo.maven.apache.org",
    "repo1.maven.org",
    "plugins.gradle.org",
    "plugins-artifacts.gradle.org",
    "services.gradle.org",
)
NODE_HOSTS: Final = ("nodejs.org",)
NPM_HOSTS: Final = (
    "registry.npmjs.org",
    "registry.yarnpkg.com",
)
NUGET_HOSTS: Final = (
    "api.nuget.org",
    "globalcdn.nuget.org",
)
PACKAGIST_HOSTS: Final = (
    "packagist.org",
    "repo.packagist.org",
)
PYPI_HOSTS: Final = (
    "pypi.org",
    "files.pythonhosted.org",
    "*.pythonhosted.org",
)
RUBYGEMS_HOSTS: Final = (
    "rubygems.org",
    "index.rubygems.org",
    "fastly.rubygems.org",
)
RUSTUP_HOSTS: Final = (
    "static.rust-lang.org",
    "sh.rustup.rs",
)
UBUNTU_HOSTS: Final = (
    "archive.ubuntu.com",
    "security.ubuntu.com",
    "ports.ubuntu.com",
    "*.archive.ubuntu.com",
)
CLOUD_METADATA_DENY: Final = (
    "169.254.0.0/16",
    "fe80::/10",
    "169.254.169.254",
    "169.254.169.253",
    "169.254.169.123",
    "169.254.169.250/31",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.79.129",
    "169.254.100.1",
    "169.254.129.0/24",
    "168.63.129.16",
    "169.254.0.23",
    "169.254.10.10",
    "169.254.20.10",
    "169.254.42.42",
    "100.100.100.200",
    "100.100.2.136",
    "100.100.2.138",
    "192.0.0.192",
    "161.26.0.0/16",
    "166.8.0.0/14",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd00:ec2::123",
    "fd00:ec2::253",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fe80::a9fe:a9fe",
    "fd00:a9fe:a9fe::1",
    "fd00:42::42",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.com",
    "metadata.azure.internal",
    "metadata.oraclecloud.com",
    "metadata.digitalocean.com",
    "metadata.tencentyun.com",
    "api.metadata.cloud.ibm.com",
    "metadata.platformequinix.com",
    "kubernetes.default",
    "kubernetes.default.svc",
    "*.cluster.local",
)
