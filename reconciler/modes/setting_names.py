"""Names of settings that were probably meant, for a person who misspelt one."""

from collections.abc import Mapping
from difflib import get_close_matches

from reconciler.settings import VARIABLES
from reconciler.values.messages import excerpt

# How alike two names are, by difflib: API_KEY_SECRET_NAM and API_KEY_SECRET_NAME are 0.97, SSL_CERT_FILE and
# SSL_CERT_DIR, both of OpenSSL, 0.80. Short names are alike by chance.
_LIKENESS, _SHORTEST_SLIP = 0.88, 6


def find_misspelt(environment: Mapping[str, str]) -> list[str]:
    """List the variables whose names are nearly those of settings, and the names that were probably meant."""
    names = [name for variable in VARIABLES.values() for name in variable.names]
    lines = []
    for given in sorted(environment.keys() - set(names)):
        likely = get_close_matches(given.upper(), names, n=1, cutoff=_LIKENESS) if len(given) >= _SHORTEST_SLIP else []
        if likely and environment[given]:
            lines.append(f"{excerpt(given)[1:-1]} is not a setting and is ignored; {likely[0]} may be meant")
    return lines
