"""explain: say what answers a host or path and why, or why nothing does and what nearly does."""

import argparse
import json
import sys
import time
from collections.abc import Mapping

from msgspec.structs import replace

from reconciler.advice.evidence import Evidence, gather
from reconciler.advice.explanation import explain
from reconciler.advice.hidden_tls import hide_tls, show_tls
from reconciler.advice.question import Question, QuestionError, parse_question
from reconciler.advice.wanted import find_wanting
from reconciler.cluster.connection import Connection
from reconciler.cluster.survey import survey_cluster
from reconciler.cluster.workload_lists import list_workloads
from reconciler.modes.arguments import DIFFERENT, OK, Command, UsageError
from reconciler.modes.sources import read_files, require_credentials, select_listing
from reconciler.objects.listing import Listing
from reconciler.objects.normaliser import Normaliser
from reconciler.objects.snapshot import Snapshot
from reconciler.routing.sharing import list_wildcards
from reconciler.settings import Settings
from reconciler.status.explanation_record import write_explanation
from reconciler.status.explanation_text import list_lines
from reconciler.status.lines import Lines
from reconciler.status.log import Log
from reconciler.status.status_evidence import make_evidence, read_router_settings
from reconciler.status.status_reader import fetch_status, parse_admin
from reconciler.values.messages import defuse_json, excerpt


def _explain(given: argparse.Namespace, settings: Settings, log: Log, environment: Mapping[str, str]) -> int:
    """Explain what answers; the exit code is 0 if Pods do."""
    try:
        question = parse_question(given.what)
    except QuestionError as error:
        raise UsageError(str(error)) from None
    evidence, settings = _gather(given, question, settings, log, environment)
    explanation = explain(question, evidence, settings)
    if given.json:
        sys.stdout.write(defuse_json(f"{json.dumps(write_explanation(explanation, settings), indent=1)}\n"))
    else:
        lines = Lines(sys.stdout, "text")
        for line in list_lines(explanation, settings):
            lines.write("info", {}, line.show(lines.paint))
    return OK if explanation.is_answered else DIFFERENT


def _gather(
    given: argparse.Namespace, question: Question, settings: Settings, log: Log, environment: Mapping[str, str]
) -> tuple[Evidence, Settings]:
    """Gather the evidence from the place that the arguments name, and the settings that hold there."""
    if given.admin and given.recordings:
        raise UsageError("--admin does not go with --snapshot")
    if given.admin:
        try:
            url = parse_admin(given.admin)
        except ValueError:
            raise UsageError(f"--admin: {excerpt(given.admin)} is not allowed; allowed: http://HOST:PORT") from None
        status = fetch_status(url)
        return make_evidence(status, url), read_router_settings(status, settings)
    if given.recordings:
        manifests = read_files(given.recordings, given.log_format)
        evidence = gather(_normalise(manifests.listing, settings), manifests.listing, settings, time.time())
        return replace(evidence, workloads=manifests.workloads), settings
    return _survey(question, settings, Connection(require_credentials(environment, log))), settings


def _survey(question: Question, settings: Settings, connection: Connection) -> Evidence:
    """Gather evidence from a live cluster, as far as the person's rights allow."""
    survey = survey_cluster(connection, settings)
    snapshot = _normalise(survey.listing, settings)
    if survey.has_secrets:
        evidence = gather(snapshot, survey.listing, settings, time.time())
    else:
        evidence = show_tls(gather(hide_tls(snapshot), survey.listing, settings, time.time()), snapshot, settings)
    gaps = list(survey.gaps)
    namespaces = find_wanting({question.host, *list_wildcards(question.host)}, evidence, settings)
    workloads = tuple(list_workloads(connection, namespaces, settings, gaps))
    return replace(evidence, workloads=workloads, gaps=tuple(gaps))


def _normalise(listing: Listing, settings: Settings) -> Snapshot:
    """Keep what the router would read."""
    return Normaliser(settings).normalise(select_listing(listing, settings))


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="HOST[/PATH]", help="what a client requests; URLs are accepted too")
    parser.add_argument(
        "--snapshot", metavar="PATH", nargs="+", action="extend", default=[], dest="recordings",
        help="look into recordings or manifests, merged, in place of a cluster; - for stdin",
    )  # fmt: skip
    parser.add_argument("--admin", metavar="URL", help="ask a running router's admin port: http://127.0.0.1:PORT")
    parser.add_argument("--json", action="store_true", help="print JSON; docs/explain.schema.json describes it")


COMMAND = Command(
    summary="say what answers a host or path, and why; or why nothing does",
    description="Say what answers HOST[/PATH] and why: Namespace, path, Pods, API key, TLS. Or say why nothing does, "
    "and what nearly does. Without --snapshot and --admin it looks into the cluster that kubectl would use. "
    "The settings are those of the environment, and must be the router's. Exit code 1: no Pod answers.",
    examples="dispatcher explain shop.example.com/api\n"
    "dispatcher explain https://shop.example.com/api --admin http://127.0.0.1:8090\n"
    "dispatcher explain shop.example.com/api --snapshot recordings/0001.json --json",
    declare=_declare,
    run=_explain,
)
