#!/bin/sh
# Puts a Debian, Ubuntu, RHEL or Rocky machine into the mesh, or takes it out again.
# What each option and exit status means: --help, and docs/guides/clients.md.
#
# One line of JSON on standard output says how it ended; all else goes to standard error. The key is
# never in an argument, a variable, the environment or a file of ours: tailscale reads it by itself.
set -eu
umask 022

# Exit statuses; 64 as in sysexits(3)
USAGE=64 SYSTEM=10 MISSING=11 DOWNLOAD=12 UNTRUSTED=13 KEY=14 OTHER=15 SERVICE=16 JOIN=17 LEFT=18

REPOSITORY=https://pkgs.tailscale.com/stable
FINGERPRINT=2596A99EAAB33821893C0A79458CA832957F5868 # of the key that signs Tailscale's repository
PORT=41641                                            # plan 4.2.3: UDP that peers reach directly

OURS=/etc/mesh-client # what this installer remembers; it touches no Tailscale of others
CLIENT=/usr/local/bin/tailscale
DAEMON=/usr/local/sbin/tailscaled
UNIT=/etc/systemd/system/tailscaled.service
DROPIN=/etc/systemd/system/tailscaled.service.d/mesh.conf
APT_SOURCE=/etc/apt/sources.list.d/mesh-tailscale.list
APT_KEY=/etc/apt/keyrings/mesh-tailscale.gpg
DNF_SOURCE=/etc/yum.repos.d/mesh-tailscale.repo
DNF_KEY=/etc/pki/rpm-gpg/RPM-GPG-KEY-mesh-tailscale

server='' store='' hash_tailscale='' hash_tailscaled='' repository='' version='' key=''
profile=server hostname='' pattern='' ssh=false timeout=90 check=false action=enter
work='' told=false changed=false steps='' reload=false restart=false
started=$(date +%s)

usage() {
    cat <<'END'
usage: install.sh --server URL --store URL --tailscale SHA256 --tailscaled SHA256 [options]
       install.sh --server URL --from-repository [options]
       install.sh --uninstall

where the programs come from
  --store URL          the mesh's artifact store; a program is at URL/SHA256/NAME (x86-64 only)
  --tailscale SHA256   what the store's tailscale must be
  --tailscaled SHA256  what the store's tailscaled must be
  --from-repository    the package of Tailscale's repository for this distribution, by its signed key
  --repository URL     a mirror of that repository; the key is the same
  --version VERSION    the package's version; the newest when left out

how the machine joins
  --server URL         the mesh's server, such as https://hs.ops.example.com
  --key-file PATH      a file with the pre-auth key that nobody else may read; - is standard input
  --profile NAME       server (default), workstation or locked-down
  --hostname NAME      the node's name; the machine's own when left out
  --name-pattern ERE   the rule that the whole name must follow
  --ssh                offer Tailscale SSH; the policy says to whom
  --timeout SECONDS    how long a join may take (90)

  --check              only say what would be done
  --uninstall          log the node out and remove all that this installer made
END
}

say() { printf 'mesh-client: %s\n' "$*" >&2; }

json() {
    case $1 in
    true | false) printf %s "$1" ;;
    *) printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')" ;;
    esac
}

# The line on standard output: RESULT, then pairs of a name and a text
tell() {
    told=true
    printf '{"result": %s, "changed": %s, "steps": [%s]' "$(json "$1")" "$changed" "${steps#, }"
    shift
    while [ $# -gt 0 ]; do
        printf ', "%s": %s' "$1" "$(json "$2")"
        shift 2
    done
    printf ', "seconds": %s}\n' "$(($(date +%s) - started))"
}

# STATUS MESSAGE: the end
fail() {
    say "$2"
    tell failed error "$2"
    exit "$1"
}

finish() {
    status=$?
    [ -z "$work" ] || rm -rf "$work"
    [ "$told" = true ] || tell failed error "a command failed unexpectedly; see standard error"
    exit "$status"
}

# WHAT COMMAND...: does it; with --check only tells of it
step() {
    changed=true
    steps="$steps, $(json "$1")"
    if [ "$check" = true ]; then
        say "would $1"
        return
    fi
    say "$1"
    shift
    "$@"
}

need() { command -v "$1" >/dev/null || fail "$MISSING" "$1 is missing; install package $2"; }

# Arguments and the machine

arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
        --from-repository) repository=${repository:-$REPOSITORY} ;;
        --ssh) ssh=true ;;
        --check) check=true ;;
        --uninstall) action=leave ;;
        --help) usage && told=true && exit 0 ;;
        *)
            [ $# -gt 1 ] || fail "$USAGE" "$1: not an option, or its value is missing; see --help"
            value "$1" "$2"
            shift
            ;;
        esac
        shift
    done
}

value() {
    case $1 in
    --server) server=${2%/} ;;
    --store) store=${2%/} ;;
    --tailscale) hash_tailscale=$2 ;;
    --tailscaled) hash_tailscaled=$2 ;;
    --repository) repository=${2%/} ;;
    --version) version=$2 ;;
    --key-file) key=$2 ;;
    --profile) profile=$2 ;;
    --hostname) hostname=$2 ;;
    --name-pattern) pattern=$2 ;;
    --timeout) timeout=$2 ;;
    *) fail "$USAGE" "$1: not an option; --help lists them" ;;
    esac
}

# OPTION VALUE ERE WHAT: the whole value must be so
must_be() {
    printf '%s\n' "$2" | grep -Eqx -e "$3" || fail "$USAGE" "$1: '$2' is not $4"
    [ "$(printf '%s\n' "$2" | wc -l)" -eq 1 ] || fail "$USAGE" "$1: more than one line"
}

arguments_fit() {
    must_be --server "$server" 'https?://[A-Za-z0-9._:-]+' 'a URL such as https://hs.ops.example.com'
    must_be --profile "$profile" 'server|workstation|locked-down' 'server, workstation or locked-down'
    must_be --timeout "$timeout" '[1-9][0-9]{0,3}' 'a number of seconds up to 9999'
    [ -z "$hostname" ] || must_be --hostname "$hostname" '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?' \
        'a name of up to 63 of a-z, 0-9 and -'
    name=${hostname:-$(uname -n | cut -d. -f1)}
    [ -z "$pattern" ] || must_be --hostname "$name" "$pattern" "a name by the rule $pattern"
    if [ -n "$store" ] && [ -n "$repository" ]; then
        fail "$USAGE" "--store and --from-repository: give one of them"
    elif [ -n "$store" ]; then
        must_be --store "$store" 'https?://[^[:space:]"]+' 'a URL'
        must_be --tailscale "$hash_tailscale" '[0-9a-f]{64}' 'a SHA-256 of 64 hexadecimal digits'
        must_be --tailscaled "$hash_tailscaled" '[0-9a-f]{64}' 'a SHA-256 of 64 hexadecimal digits'
    elif [ -n "$repository" ]; then
        must_be --repository "$repository" 'https://[^[:space:]"]+' 'a URL that begins with https://'
        [ -z "$version" ] || must_be --version "$version" '[0-9]+(\.[0-9]+)+' 'a version'
    else
        fail "$USAGE" "give --store with its hashes, or --from-repository"
    fi
}

release() { sed -n "s/^$1=//p" /etc/os-release | tr -d "\"'"; }

system_fits() {
    [ "$(id -u)" -eq 0 ] || fail "$SYSTEM" "this needs root; use sudo"
    [ -d /run/systemd/system ] || fail "$SYSTEM" "this machine does not run systemd"
    distribution=$(release ID) release=$(release VERSION_ID)
    case $distribution in
    debian | ubuntu) family=debian ;;
    rhel | rocky | almalinux | centos) family=rhel distribution=rhel ;;
    *) fail "$SYSTEM" "'$distribution' is none of debian, ubuntu, rhel, rocky, almalinux, centos" ;;
    esac
    if [ -n "$store" ] && [ "$(uname -m)" != x86_64 ]; then
        fail "$SYSTEM" "the store has programs for x86_64, this is $(uname -m); use --from-repository"
    fi
}

# A Tailscale that somebody else installed is left alone.
ours_or_none() {
    [ ! -e $OURS/source ] || return 0
    if found=$(command -v tailscaled) || [ -e $UNIT ]; then
        fail "$OTHER" "${found:-$UNIT} was not put here by this installer; remove it first"
    fi
}

source_fits() {
    [ -e $OURS/source ] || return 0
    now=$(cat $OURS/source) want=repository
    [ -z "$store" ] || want=store
    [ "$now" = "$want" ] || fail "$OTHER" "the programs are from the $now; --uninstall comes first"
}

# Programs

# FILE SHA256
is() { [ -f "$1" ] && printf '%s  %s\n' "$2" "$1" | sha256sum --check --status; }

place() { if [ "$1" = tailscale ]; then echo $CLIENT; else echo $DAEMON; fi; }
hash_of() { if [ "$1" = tailscale ]; then echo "$hash_tailscale"; else echo "$hash_tailscaled"; fi; }

# URL FILE; both programs honour http_proxy and https_proxy
download() {
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --retry 3 --connect-timeout 10 -o "$2" "$1" >&2
    else
        need wget "curl or wget"
        wget --no-verbose --tries=3 --timeout=30 -O "$2" "$1" >&2
    fi || fail "$DOWNLOAD" "$1 could not be fetched"
}

from_store() {
    wanted=''
    for name in tailscale tailscaled; do
        is "$(place $name)" "$(hash_of $name)" || wanted="$wanted $name"
    done
    # shellcheck disable=SC2086  # a list of words
    [ -z "$wanted" ] || step "install$wanted from the store" fetch $wanted
    keep $UNIT 644 "$(unit)"
}

# Nothing is put in its place before all of it is known to be right.
fetch() {
    work=$(mktemp -d /usr/local/.mesh-client.XXXXXX) # the same file system, so that mv replaces
    for name; do
        download "$store/$(hash_of "$name")/$name" "$work/$name"
        is "$work/$name" "$(hash_of "$name")" ||
            fail "$UNTRUSTED" "$store has another $name than the one of that hash; nothing was changed"
    done
    remember store
    for name; do
        chmod 755 "$work/$name"
        mv -f "$work/$name" "$(place "$name")"
        ! command -v restorecon >/dev/null || restorecon "$(place "$name")"
    done
    restart=true
}

# It can run what Tailscale SSH starts for a user, so it has the freedom of the package's own unit.
unit() {
    cat <<END
[Unit]
Description=Tailscale client of the mesh
Documentation=https://tailscale.com/docs/
Wants=network-pre.target
After=network-pre.target NetworkManager.service systemd-resolved.service

[Service]
Type=notify
ExecStart=$DAEMON --statedir=/var/lib/tailscale --socket=/run/tailscale/tailscaled.sock --port=$PORT
ExecStopPost=$DAEMON --cleanup
Restart=on-failure
RuntimeDirectory=tailscale
RuntimeDirectoryMode=0755
StateDirectory=tailscale
StateDirectoryMode=0700
CacheDirectory=tailscale
CacheDirectoryMode=0750

[Install]
WantedBy=multi-user.target
END
}

remember() { mkdir -p $OURS && printf '%s\n' "$1" >$OURS/source; }

installed() {
    if [ "$family" = debian ]; then
        # shellcheck disable=SC2016  # dpkg's own variables
        dpkg-query -W -f '${db:Status-Abbrev} ${Version}\n' tailscale 2>/dev/null | sed -n 's/^ii *//p'
    elif rpm -q tailscale >/dev/null 2>&1; then # otherwise it says so on standard output
        rpm -q --qf '%{VERSION}\n' tailscale
    fi
}

from_repository() {
    need gpg "gnupg on Debian and Ubuntu, gnupg2 on RHEL and Rocky"
    now=$(installed)
    if [ -z "$now" ] || { [ -n "$version" ] && [ "$now" != "$version" ]; }; then
        step "install the package tailscale${version:+ $version} from $repository" package
    fi
}

package() {
    work=$(mktemp -d)
    if [ "$family" = debian ]; then
        codename=$(release VERSION_CODENAME)
        trusted_key "$distribution/$codename.noarmor.gpg" $APT_KEY
        echo "deb [signed-by=$APT_KEY] $repository/$distribution $codename main" >$APT_SOURCE
        apt -o Dir::Etc::sourcelist=$APT_SOURCE -o Dir::Etc::sourceparts=- update
        apt install -y --no-install-recommends --allow-downgrades "tailscale${version:+=$version}"
    else
        trusted_key "rhel/${release%%.*}/repo.gpg" $DNF_KEY
        printf '%s\n' "[mesh-tailscale]" "name=Tailscale for the mesh" \
            "baseurl=$repository/rhel/${release%%.*}/\$basearch" "gpgkey=file://$DNF_KEY" \
            gpgcheck=1 repo_gpgcheck=1 enabled=1 >$DNF_SOURCE
        dnf install -y "tailscale${version:+-$version}" >&2 ||
            fail "$DOWNLOAD" "dnf could not install tailscale $version"
    fi
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 \
        -o APT::Get::List-Cleanup=0 "$@" >&2 || fail "$DOWNLOAD" "apt-get $*: failed"
}

# PATH FILE: the repository's key, and no other one beside it
trusted_key() {
    download "$repository/$1" "$work/key"
    found=$(gpg --homedir "$work" --batch --show-keys --with-colons "$work/key" 2>/dev/null |
        awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }')
    [ "$found" = $FINGERPRINT ] || fail "$UNTRUSTED" \
        "$repository/$1 is not the key $FINGERPRINT; nothing was changed"
    remember repository
    mkdir -p "${2%/*}"
    cat "$work/key" >"$2"
}

# The service

# PATH MODE TEXT: the file is so
keep() {
    if ! printf '%s\n' "$3" | cmp -s - "$1"; then
        step "write $1" overwrite "$@"
        reload=true
    fi
}

overwrite() {
    mkdir -p "${1%/*}"
    (umask 077 && : >"$1.new")
    chmod "$2" "$1.new"
    printf '%s\n' "$3" >"$1.new"
    mv -f "$1.new" "$1"
}

environment() {
    echo "# Written by the mesh's installer from its own environment; each run writes it anew."
    echo "TS_NO_LOGS_NO_SUPPORT=true" # nothing is sent to Tailscale's own log service
    for name in http_proxy https_proxy no_proxy; do
        found=$(printenv $name || printenv "$(echo $name | tr '[:lower:]' '[:upper:]')" || true)
        [ -z "$found" ] || printf '%s="%s"\n' $name "$(printf '%s' "$found" | sed 's/[\\"]/\\&/g')"
    done
}

service() {
    keep $OURS/environment 600 "$(environment)" # a proxy's URL may hold a password
    keep $DROPIN 644 "[Service]
EnvironmentFile=$OURS/environment"
    if ! systemctl is-active --quiet tailscaled || ! systemctl is-enabled --quiet tailscaled; then
        step "start tailscaled, now and at each boot" start
    elif [ $reload = true ] || [ $restart = true ]; then
        step "restart tailscaled" start
    fi
}

start() {
    { systemctl daemon-reload && systemctl enable tailscaled && systemctl restart tailscaled; } >&2 ||
        fail "$SERVICE" "tailscaled does not start; journalctl -u tailscaled says why"
}

# The mesh

# NAME: what tailscaled says of itself, "" when it says nothing
status() { tailscale status --json --peers=false 2>/dev/null | field "$1"; }
preference() { tailscale debug prefs 2>/dev/null | field "$1"; }
field() { sed -n "s/^[[:space:]]*\"$1\": *//p" | sed -e 1q | sed 's/,$//; s/^"//; s/"$//'; }

# What it says once it has made up its mind, within ten seconds
settled() {
    left=10
    state=$(status BackendState)
    while [ $left -gt 0 ] && { [ -z "$state" ] || [ "$state" = NoState ] || [ "$state" = Starting ]; }; do
        sleep 1
        left=$((left - 1))
        state=$(status BackendState)
    done
}

wish() {
    routes=true shields=false operator=''
    case $profile in
    workstation) # who may use tailscale without sudo; root may anyway
        [ "${SUDO_USER:-root}" = root ] || operator=$SUDO_USER
        ;;
    locked-down) routes=false shields=true ssh=false ;;
    esac
}

# NAME VALUE pairs: whether tailscaled's preferences are these
prefers() {
    while [ $# -gt 0 ]; do
        [ "$(preference "$1")" = "$2" ] || return 1
        shift 2
    done
}

as_wished() {
    prefers CorpDNS true RouteAll "$routes" ShieldsUp "$shields" RunSSH "$ssh" Hostname "$hostname" \
        OperatorUser "$operator" || return 1
    [ "$profile" != locked-down ] || prefers AdvertiseRoutes null ExitNodeID '' ExitNodeIP ''
}

joined() {
    wish
    if ! systemctl is-active --quiet tailscaled; then # with --check only
        step "join $server" :
        return
    fi
    settled
    case $state in
    Running | Starting | Stopped) stays ;;
    *) step "join $server" join ;;
    esac
}

# A node that was logged in keeps what it is; only what the profile says is set.
stays() {
    there=$(preference ControlURL)
    [ "$there" = "$server" ] || fail "$OTHER" "this node is in the mesh of $there; --uninstall first"
    [ "$state" = Running ] || step "bring the node up again" resume
    as_wished || step "set the preferences of profile $profile" adjust
}

resume() {
    timeout "$timeout" tailscale up >&2 || fail "$JOIN" "$server did not answer within $timeout s"
}

join() {
    set -- --reset --login-server="$server" --accept-dns=true --accept-routes="$routes" \
        --shields-up="$shields" --ssh="$ssh" --hostname="$hostname" --operator="$operator"
    if [ -n "$key" ]; then
        key_fits
        set -- "$@" --auth-key="file:$key"
    elif [ "$profile" = workstation ]; then
        say "an administrator must register the ID in the address that follows" && timeout=600
    else
        fail "$KEY" "profile $profile needs --key-file"
    fi
    tailscale up "$@" --timeout="${timeout}s" <&3 >&2 ||
        fail "$JOIN" "$server did not take this machine; tailscaled runs, so try again or --uninstall"
}

key_fits() {
    if [ "$key" = - ]; then
        key=/dev/stdin
        return
    fi
    [ -f "$key" ] || fail "$KEY" "--key-file $key: no such file"
    case $(stat -L -c %a "$key") in
    *00) ;;
    *) fail "$KEY" "--key-file $key: others may read it; chmod 600 it" ;;
    esac
    { grep -Eqx '[A-Za-z0-9_-]+' "$key" && [ "$(grep -c '' "$key")" -eq 1 ]; } ||
        fail "$KEY" "--key-file $key: must hold the key in one line, and nothing else"
    key=$(realpath "$key")
}

adjust() {
    set -- --accept-dns=true --accept-routes="$routes" --shields-up="$shields" --ssh="$ssh" \
        --hostname="$hostname" --operator="$operator"
    [ "$profile" != locked-down ] ||
        set -- "$@" --advertise-routes= --advertise-exit-node=false --exit-node=
    tailscale set "$@" >&2 || fail "$JOIN" "tailscaled did not take the preferences"
}

enter() {
    arguments_fit
    system_fits
    ours_or_none
    source_fits
    if [ -n "$store" ]; then from_store; else from_repository; fi
    service
    joined
    if [ "$check" = true ]; then
        tell checked profile "$profile"
        return
    fi
    node=$(status DNSName)
    tell joined node "${node%%.*}" address "$(tailscale ip -4)" profile "$profile" \
        source "$(cat $OURS/source)" version "$(tailscale version | sed 1q)"
}

# The way back

leave() {
    system_fits
    if [ ! -e $OURS ]; then
        ours_or_none
        tell absent
        return
    fi
    logged_out=true
    step "log this node out" log_out
    step "stop tailscaled" stop
    [ "$(cat $OURS/source 2>/dev/null)" != repository ] || step "remove the package" remove_package
    step "remove programs, unit, settings and state" remove_files
    tell "$([ "$check" = true ] && echo checked || echo removed)" logged_out "$logged_out"
}

log_out() {
    if ! timeout 20 tailscale logout >&2; then
        logged_out=false
        say "the server was not told; an administrator removes the node"
    fi
}

stop() { systemctl disable --now tailscaled >&2 || say "tailscaled was not running"; }

remove_package() {
    if [ "$family" = debian ]; then
        lists=/var/lib/apt/lists/$(sed -n 's|^deb .*https://\([^ ]*\) .*|\1|p' $APT_SOURCE | tr / _)
        apt purge -y tailscale
        rm -f $APT_SOURCE $APT_KEY "$lists"_*
    else
        dnf remove -y tailscale >&2 || fail "$LEFT" "dnf could not remove tailscale"
        rpm -e gpg-pubkey-957f5868 2>/dev/null || say "rpm did not keep the repository's key"
        rm -rf $DNF_SOURCE $DNF_KEY /var/cache/dnf/mesh-tailscale-*
    fi
}

remove_files() {
    rm -rf $UNIT ${DROPIN%/*} $CLIENT $DAEMON $OURS \
        /var/lib/tailscale /var/cache/tailscale /run/tailscale
    systemctl daemon-reload
    systemctl reset-failed tailscaled 2>/dev/null || : # it had not failed
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM
arguments "$@"
exec 3<&0 </dev/null # only tailscale may read the key from standard input
case $action in
enter) enter ;;
leave) leave ;;
esac
