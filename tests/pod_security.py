"""The restricted pod security standard, as the Kubernetes documentation lists its controls, over one pod specification."""

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def violations(pod):
    """What the standard would refuse about a pod, in words."""
    return [*_pod(pod), *(f"{each['name']}: {word}" for each in _containers(pod) for word in _container(pod, each))]


def _containers(pod):
    return [each for key in ("initContainers", "containers", "ephemeralContainers") for each in pod.get(key) or []]


def _pod(pod):
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is set"
    for volume in pod.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']} is of the kind {', '.join(sorted(kinds))}"
    context = pod.get("securityContext") or {}
    for sysctl in context.get("sysctls") or []:
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _both(context)


def _container(pod, container):
    shared, own = pod.get("securityContext") or {}, container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities are not all dropped"
    if set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    profile = own.get("seccompProfile") or shared.get("seccompProfile") or {}
    if profile.get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile is neither RuntimeDefault nor Localhost"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield "hostPort"
    for probe in PROBES:
        action = (container.get(probe) or {}).get("httpGet") or (container.get(probe) or {}).get("tcpSocket") or {}
        if action.get("host"):
            yield f"{probe} names a host"
    yield from _both(own)


def _both(context):
    """What neither a pod's nor a container's security context may say."""
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "hostProcess"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield "AppArmor is unconfined"
    if (context.get("seLinuxOptions") or {}).keys() & {"user", "role"}:
        yield "SELinux user or role"
