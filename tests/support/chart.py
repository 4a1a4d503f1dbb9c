"""The Helm chart, rendered, checked and linted by Helm's own code."""

from typing import Any

import helm_python
import yaml
from support.manifests import K8S, name_of
from support.objects import Object

CHART = K8S / "chart"


def render(name: str = "dispatcher", of: str = "dispatcher", **values: Any) -> list[Object]:
    """Render a release with these values: its objects, sorted. HelmError if the schema or a template refuses them."""
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name=name, namespace=of)
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    return sorted((item for text in texts for item in yaml.safe_load_all(text) if item), key=name_of)


def read_default() -> Object:
    """Read the default values."""
    with helm_python.Chart.load(str(CHART)) as chart:
        values: Object = chart.values
    return values
