"""Options that several commands have."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
Tenant = Annotated[str, typer.Option(help="The tenant whose workflow it is.")]
