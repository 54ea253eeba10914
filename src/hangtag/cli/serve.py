"""The command that serves a run."""

from __future__ import annotations

from typing import Annotated

import typer

from hangtag.cli.app import RunFolder, app
from hangtag.errors import UsageError
from hangtag.files import Run


@app.command(
    epilog="Examples: [bold]hangtag serve runs/demo[/bold], "
    "[bold]hangtag serve runs/shop --host 0.0.0.0 --token HANGTAG_TOKEN[/bold]"
)
def serve(
    run: RunFolder,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
    name: Annotated[str | None, typer.Option(help="What the model is called; the run folder's name.")] = None,
    token: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Environment variable or file that holds the token clients must show."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Let everyone who reaches it ask, without a token.")] = False,
    allow_urls: Annotated[bool, typer.Option("--allow-urls", help="Fetch pictures from URLs in requests.")] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="With --allow-urls: from private networks too.")
    ] = False,
    cors: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="A web origin whose pages may ask; again for more.")
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="Pictures accepted at once; beyond it 503.")] = 64,
    batch: Annotated[int | None, typer.Option(min=1, help="Most pictures that a process answers at once.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that run the model; by default one a core for a small one on the CPU."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds in which a request must be answered.")] = 60.0,
    max_mb: Annotated[int, typer.Option(min=1, help="Megabytes of one request.")] = 32,
    max_pictures: Annotated[int, typer.Option(min=1, help="Pictures of one request.")] = 16,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Megapixels of one picture.")] = 50,
    access_log: Annotated[bool, typer.Option("--access-log", help="A line on stderr for every request.")] = False,
) -> None:
    """Answer requests for tags by HTTP: a page to try it, JSON, and OpenAI's chat completions."""
    from hangtag.serving.settings import Limits, Settings, check_origins, is_loopback, read_token

    if not is_loopback(host) and token is None and not open_:
        raise UsageError(
            f"--host {host} lets other machines ask; give --token, or --open if everyone who reaches it may"
        )
    limits = Limits(
        body=max_mb * 1_000_000,
        pixels=max_megapixels * 1_000_000,
        pictures=min(max_pictures, queue),
        places=queue,
        answer=timeout,
    )
    settings = Settings(
        name=name or run.resolve().name,
        host=host,
        port=port,
        token=None if token is None else read_token(token),
        allow_urls=allow_urls or allow_private,
        allow_private=allow_private,
        origins=check_origins(cors or []),
        access_log=access_log,
        rows=batch,
        workers=workers,
        limits=limits,
    )
    Run(run).require_model()
    from hangtag.serving.listening import bind

    with bind(host, port) as listener:  # before the slow imports
        from hangtag.serving.server import serve as serve_run
        from hangtag.terminal import hush_transformers, note

        hush_transformers()
        serve_run(run, settings, listener, note)
