"""`init` and `plans`: roles, plans and requests of one's own."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from contracts.plans import Plan, Step
from infra.cli import base, screen, worker
from infra.cli.asked import new_request
from infra.cli.loading import with_own
from infra.cli.options import Json
from infra.cli.plan_files import HOW, problems, read_plan, unknown_fields
from infra.cli.problem import Problem
from infra.cli.requests import conclude, publish_and_watch

ROLE = """\
# A role of the specialists, named by its file. HANSARD_ROLES names this folder; a plan uses it as `worker: proofreader`.
about: Mends the spelling and grammar of a text.
prompt: |
  You are a careful proofreader. Give the text back with its spelling and grammar mended.
  Change nothing else, and add nothing.
model_class: fast
max_output_tokens: 300
temperature: 0.2
"""

PLAN = """\
# A plan: steps by their needs. HANSARD_PLANS names this folder; `hansard ask "…" --plan draft-and-proofread` runs it.
name: draft-and-proofread
version: "1"
architecture: pipeline
steps:
  - id: draft
    worker: writer
    instructions: Write two or three plain sentences about what was asked.
    verify: code
    retries: 2
  - id: proofread
    worker: proofreader
    instructions: Mend the draft.
    needs: [draft]
    verify: code
"""

REQUESTS = """\
{"text": "Explain in two sentences why a parliament keeps a verbatim record"}
{"type": "validate_email", "data": {"email": "clerk@example.org"}}
{"text": "Write a note about standing orders", "plan": "draft-and-proofread", "deadline_seconds": null}
""".replace(', "deadline_seconds": null', "")

FILES = {"roles/proofreader.yaml": ROLE, "plans/draft-and-proofread.yaml": PLAN, "requests.jsonl": REQUESTS}


def init(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FOLDER] | worker NAME [FOLDER]", help="The folder to write to; it is created if missing."),
    ] = None,
) -> None:
    """Write files to start from. What is there already is left alone.

    With a FOLDER, or nothing: a role, a plan and a file of requests. With `worker NAME`: a service of your own in a folder
    of that name (its decider, a spec that passes, a plan that uses it).

    Example: hansard init my-hansard    ·    hansard init worker word-counter
    """
    match words or []:
        case ["worker"]:
            raise Problem("A worker needs a name: hansard init worker word-counter", code=2)
        case ["worker", name]:
            worker.write(name, Path(name))
        case ["worker", name, folder]:
            worker.write(name, Path(folder))
        case [] | [_] as where:
            _write(Path(*where))
        case _:
            raise Problem("It is either a folder, or `worker NAME` and perhaps a folder.", code=2)


def _write(folder: Path) -> None:
    for name, content in FILES.items():
        worker.put(folder / name, content)
    screen.out.print(
        f"\nNext:\n  export HANSARD_ROLES={(folder / 'roles').resolve()} HANSARD_PLANS={(folder / 'plans').resolve()}\n"
        f"  hansard up --detach\n  hansard submit {folder / 'requests.jsonl'} --wait\n\n"
        f"A service of your own: hansard init worker NAME",
        soft_wrap=True,
    )


app = typer.Typer(help="Plans: check one, run one.", no_args_is_help=True)


def read(file: str) -> tuple[dict[str, Any], Plan]:
    """A plan from a file, as it stands there and as it is understood. Raises Problem where it would be refused."""
    from services.planner.app import BadWorker, workers_of
    from services.planner.graph import problems as unmet
    from shared.roles import BadRole

    data = read_plan(file)
    if not isinstance(data, dict):
        raise Problem(f'There is no file {file}. (`hansard ask "…" --plan {file}` runs a plan by its name.)', code=2)
    wrong = list(unknown_fields(data))
    try:
        plan = Plan.model_validate(data)
        wrong += unmet(plan, workers_of(with_own(base.local())))
    except ValidationError as invalid:
        raise Problem(f"{file} is no plan: {'; '.join([*wrong, problems(invalid)])}. {HOW}.", code=2) from None
    except (BadWorker, BadRole, OSError) as bad:
        raise Problem(str(bad), code=2) from None
    if "name" not in data:
        wrong.append("a plan in a file needs a `name`")
    if wrong:
        raise Problem(f"{file} cannot be run: {'; '.join(wrong)}.", code=2)
    return data, plan


def waits_for(step: Step) -> str:
    """What it waits for besides the steps that it needs, in a few words."""
    if step.gate is not None:
        return "an approval" if step.gate.approval == "always" else "an approval, if the policy demands it"
    if step.wait is None:
        return ""
    if step.wait.until is not None:
        return f"{step.wait.until:%Y-%m-%d %H:%M} UTC"
    if step.wait.seconds is not None:
        return f"{step.wait.seconds:g} seconds"
    return f"the event {step.wait.event}" if step.wait.event else f"an answer of a {step.wait.role}"


@app.command()
def validate(file: Annotated[str, typer.Argument(metavar="FILE")], json_: Json = False) -> None:
    """Check a plan's file, without running anything. Exits 2 when it cannot be run.

    Example: hansard plans validate plans/draft-and-proofread.yaml
    """
    try:
        _, plan = read(file)
    except Problem as problem:
        if json_:
            screen.put_json({"file": file, "valid": False, "problem": str(problem)})
            raise typer.Exit(problem.code) from None
        raise
    if json_:
        screen.put_json({"file": file, "valid": True, "plan": plan.model_dump(mode="json")})
        return
    rows = [(step.id, step.worker, ", ".join(step.needs), step.verify, step.retries, waits_for(step)) for step in plan.steps]
    columns = ("step", "worker", "needs", "verify", "retries", "waits for")
    screen.out.print(screen.table(columns, rows, title=f"{plan.name} {plan.version}"))
    screen.note(f'It can be run: hansard plans run {file} "…"')


@app.command("run")
def run_plan(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    text: Annotated[str, typer.Argument(help="What is asked for.")],
    id_: Annotated[str, typer.Option("--id", help="An id of your own: the same id is the same request.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")] = False,
    json_: Json = False,
) -> None:
    """Run a plan from a file, and watch it. Exits 1 when it was not answered, 2 when it cannot be run, 3 when degraded.

    Example: hansard plans run plans/draft-and-proofread.yaml "A note about standing orders"
    """
    data, _ = read(file)
    settings = base.running(kafka=True)
    asked = new_request({"text": text, "plan": data}, id_=id_)
    answer = base.run(publish_and_watch(settings, asked, show=not (quiet or json_), known=bool(id_), seconds=0))
    conclude(asked, answer, json_=json_)
