"""Options that several commands have."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
Tenant = Annotated[str, typer.Option(help="The tenant whose workflow it is.")]
As = Annotated[
    str, typer.Option("--as", metavar="NAME", envvar="HANSARD_REQUESTER", help="Who asks, as registered: the request is signed.")
]
PrivateKey = Annotated[
    str, typer.Option("--key", metavar="FILE", help="With --as: your private key; without it ~/.config/hansard/NAME.pem.")
]
