"""Readiness: which Pods make their paths known, which get traffic, and why the others do not."""

from reconciler.objects.listing import Pod, PodStatus

# A Pod that is over does not come back: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase
_OVER = ("Succeeded", "Failed")
_NO_STATUS = PodStatus()


def is_over(pod: Pod) -> bool:
    """Tell whether a Pod has ended for good, so that its paths are not known any more."""
    return (pod.status or _NO_STATUS).phase in _OVER


def find_unreadiness(pod: Pod, *, ignore_condition: bool) -> str:
    """Say why a Pod gets no traffic; empty if it gets some.

    As for Services, only a Ready condition that is True is enough, unless `ignore_condition`.
    """
    status = pod.status or _NO_STATUS
    if pod.metadata.deletion_timestamp:
        return "it is being deleted"
    if status.phase != "Running":
        return f"its phase is {status.phase or 'unknown'}"
    for condition in status.conditions or () if not ignore_condition else ():
        if condition.type == "Ready" and condition.status != "True":
            return f"its Ready condition is {condition.status}"
    return "" if status.pod_ip else "it has no address"
