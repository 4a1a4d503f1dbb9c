"""Messages of Kubernetes in protobuf: only the fields that we read, with the numbers that Kubernetes gives them.

https://github.com/kubernetes/api/blob/master/core/v1/generated.proto
"""

from collections.abc import Mapping

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

# The fields of each message: the number and the type, which is a scalar, another message, "repeated" and a message, or
# "map" and the type of the values. A field that we do not name is skipped when a message is decoded.
FIELDS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "TypeMeta": {"apiVersion": (1, "string"), "kind": (2, "string")},
    "ListMeta": {"resourceVersion": (2, "string"), "continue": (3, "string")},
    "Status": {"message": (3, "string")},
    "Namespace": {"metadata": (1, "ObjectMeta")},
    "Pod": {"metadata": (1, "ObjectMeta"), "spec": (2, "PodSpec"), "status": (3, "PodStatus")},
    "Secret": {"metadata": (1, "ObjectMeta"), "data": (2, "map bytes")},
    "ObjectMeta": {
        "name": (1, "string"),
        "namespace": (3, "string"),
        "uid": (5, "string"),
        "creationTimestamp": (8, "Time"),
        "deletionTimestamp": (9, "Time"),
        "labels": (11, "map string"),
        "annotations": (12, "map string"),
    },
    "Time": {"seconds": (1, "int64")},
    "PodSpec": {"containers": (2, "repeated Container"), "initContainers": (20, "repeated Container")},
    "Container": {
        "ports": (6, "repeated ContainerPort"),
        "livenessProbe": (10, "Probe"),
        "readinessProbe": (11, "Probe"),
        "restartPolicy": (24, "string"),
    },
    "ContainerPort": {"name": (1, "string"), "containerPort": (3, "int32"), "protocol": (4, "string")},
    "Probe": {
        "handler": (1, "ProbeHandler"),
        "timeoutSeconds": (3, "int32"),
        "periodSeconds": (4, "int32"),
        "successThreshold": (5, "int32"),
        "failureThreshold": (6, "int32"),
    },
    "ProbeHandler": {"httpGet": (2, "HTTPGetAction"), "tcpSocket": (3, "TCPSocketAction")},
    "HTTPGetAction": {"path": (1, "string"), "port": (2, "IntOrString"), "scheme": (4, "string")},
    "TCPSocketAction": {"port": (1, "IntOrString")},
    "IntOrString": {"type": (1, "int64"), "intVal": (2, "int32"), "strVal": (3, "string")},
    "PodStatus": {"phase": (1, "string"), "conditions": (2, "repeated PodCondition"), "podIP": (6, "string")},
    "PodCondition": {"type": (1, "string"), "status": (2, "string")},
}
_PACKAGE = "kubernetes"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
}


def make_messages() -> dict[str, type[Message]]:
    """Make the class of each message."""
    file = descriptor_pb2.FileDescriptorProto(name="kubernetes.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in FIELDS}


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    label = _Field.LABEL_OPTIONAL
    if kind.startswith("map "):
        # A map is a repeated message of keys and values: https://protobuf.dev/programming-guides/encoding/#maps
        entry = message.nested_type.add(name=f"{name[0].upper()}{name[1:]}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, kind.removeprefix("map "))
        kind, label = f"{message.name}.{entry.name}", _Field.LABEL_REPEATED
    elif kind.startswith("repeated "):
        kind, label = kind.removeprefix("repeated "), _Field.LABEL_REPEATED
    field = message.field.add(name=name, number=number, label=label)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
