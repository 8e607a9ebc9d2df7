# Stand-ins for the public base images, made of Debian packages. Sourced by try-compose.sh, for a machine without a registry.
#
# The images carry the public names, so that the Dockerfile and the compose file run unchanged. The mirror, the
# certificates and the package index are the machine's own, read when the script runs.

suite=trixie

debian_mirror() {
    apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 == "main" { sub("/$", "", $3); if (!seen++) print $3 }'
}

newer_apt() { # newer_apt COMMAND...: apt with lists of its own, for packages of the newer suite
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    echo "deb $(debian_mirror) $suite main" >"$work/apt/sources.list"
    apt-get -q -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root "$@"
}

install_missing() { # what the private daemon needs; starts nothing
    local missing=()
    command -v dockerd >/dev/null || missing+=(docker.io)
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    command -v docker-init >/dev/null || command -v tini-static >/dev/null || missing+=(tini)
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    apt-get -q install -y --no-install-recommends "${missing[@]}" >"$work/install.log" 2>&1
}

fetch_compose() { # Compose v2 as a plug-in of this run's own Docker client
    mkdir -p "$DOCKER_CONFIG/cli-plugins"
    say "fetching Docker Compose from Debian $suite"
    (
        cd "$work"
        newer_apt update >"$work/compose.log" 2>&1
        newer_apt download docker-compose >>"$work/compose.log" 2>&1
        dpkg-deb -x docker-compose_*.deb compose
    )
    cp "$work/compose/usr/libexec/docker/cli-plugins/docker-compose" "$DOCKER_CONFIG/cli-plugins/"
}

start_daemon() { # a daemon that touches neither the firewall nor the machine's bridges
    local daemon="$work/daemon"
    mkdir -p "$daemon"
    dockerd --data-root "$daemon/data" --exec-root "$daemon/exec" -H "unix://$daemon/docker.sock" \
        --pidfile "$daemon/pid" --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        --bridge=none >"$daemon/log" 2>&1 &
    daemon_pid=$!
    export DOCKER_HOST="unix://$daemon/docker.sock"
    for _ in $(seq 100); do
        docker info >/dev/null 2>&1 && return
        sleep 0.2
    done
    tail -5 "$daemon/log" >&2
    fail "the private Docker daemon did not start"
}

base_image() { # python:3.12-slim: Debian with its own Python, under that name
    local rootfs="$work/rootfs" certificates
    say "making the base image from Debian $suite (about a minute)"
    rm -rf "$rootfs"
    nice debootstrap --variant=minbase --include=ca-certificates,python3-minimal,python3-venv,python3-pip \
        "$suite" "$rootfs" "$(debian_mirror)" >"$work/debootstrap.log" 2>&1
    certificates=${SSL_CERT_FILE:-$(python3 -c 'import ssl; print(ssl.get_default_verify_paths().openssl_cafile)')}
    cp "$certificates" "$rootfs/etc/ssl/certs/ca-certificates.crt"
    if index=$(python3 -m pip config get global.index-url 2>/dev/null); then
        printf '[global]\nindex-url = %s\n' "$index" >"$rootfs/etc/pip.conf"
    fi
    ln -sf python3 "$rootfs/usr/bin/python"
    rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/* "$rootfs"/usr/share/doc/*
    tar -C "$rootfs" -c . | docker import \
        --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
        --change 'CMD ["python3"]' - python:3.12-slim >/dev/null
    rm -rf "$rootfs"
}

stand_in() { # stand_in PUBLIC_NAME FOLDER
    docker image inspect "$1" >/dev/null 2>&1 && return
    say "making a stand-in for $1"
    quietly docker build --network=host -t "$1" "$here/try/$2"
}

stand_ins() {
    docker image inspect python:3.12-slim >/dev/null 2>&1 || base_image
    stand_in "$(image_of valkey)" valkey
    stand_in "$(image_of postgres)" postgres
    stand_in "$(image_of prometheus)" prometheus
}
