"""Commands that make catalogues and show them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hangtag.cli.app import WEB, AllowPrivate, IgnoreRobots, Out, Seed, app, complain


@app.command(
    epilog="Examples: [bold]hangtag synth data/demo --rows 3040 --seed 0[/bold], "
    "[bold]hangtag synth data/twin --like products.csv[/bold]"
)
def synth(
    out: Out,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Products to invent; 3040, with --like as many as the table has.")
    ] = None,
    seed: Seed = 0,
    size: Annotated[int, typer.Option(min=64, max=2048, help="Side of a picture, pixels.")] = 336,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="Invent rows like a table's, its columns and none of its rows: a file, a folder, a quoted pattern, "
            "or a Hugging Face data set.",
        ),
    ] = None,
    min_count: Annotated[
        int, typer.Option(min=1, help='With --like: categories of fewer rows of the table become "other".')
    ] = 5,
    title_column: Annotated[str | None, typer.Option(help="With --like: where titles stand; found by name.")] = None,
    category_column: Annotated[
        str | None, typer.Option(help="With --like: the category that a picture shows; found by name.")
    ] = None,
    price_column: Annotated[
        str | None, typer.Option(help="With --like: the price that a picture shows; found by name.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="With --like: which configuration of a Hugging Face data set.")
    ] = None,
) -> None:
    """Invent a catalogue: product pictures and a table whose every word can be seen in them."""
    from hangtag.terminal import say, terminal_stages

    with terminal_stages("inventing products") as progress:
        if like is None:
            from hangtag.catalogue.synth import synthesise

            info = synthesise(out, rows=rows or 3040, seed=seed, size=size, progress=progress)
        else:
            from hangtag.catalogue.like.synth_like import synthesise_like

            columns = (title_column, category_column, price_column)
            info = synthesise_like(like, out, rows, seed, size, min_count, *columns, progress=progress, config=config)
    goes_on = f"hangtag train demo --set data.path={out}" if like is None else f"hangtag describe {out}"
    say(f"{info['counts']['rows']} products in {out}; next: {goes_on}")


@app.command(
    epilog="Examples: [bold]hangtag fetch products.csv data/shop --image-column photo[/bold], "
    "[bold]hangtag fetch DBQ/Burberry.Product.prices.United.States data/burberry[/bold], "
    "[bold]hangtag fetch 'shards/*.parquet' data/shop --image-column image --retry-rejected[/bold]"
)
def fetch(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="A .csv, .tsv, .jsonl or .parquet file, a quoted pattern or folder of them, "
            "or a Hugging Face data set by name or folder.",
        ),
    ],
    out: Out,
    image_column: Annotated[str, typer.Option(help="The column of URLs, paths or picture bytes.")] = "imageurl",
    keys: Annotated[
        str | None,
        typer.Option(help="Columns, with commas, whose equal values stay in one split; else product_code and title."),
    ] = None,
    seed: Seed = 0,
    max_side: Annotated[int, typer.Option(min=16, help="Longer side of the kept pictures, pixels.")] = 1024,
    config: Annotated[str | None, typer.Option(help="Which configuration of a Hugging Face data set.")] = None,
    retry_rejected: Annotated[
        bool, typer.Option("--retry-rejected", help="Try again what an earlier run could not get.")
    ] = False,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Also read pictures outside the table's own folder.")
    ] = False,
    allow_private: AllowPrivate = False,
    ignore_robots: IgnoreRobots = False,
    per_host: Annotated[
        int, typer.Option(min=1, max=64, help="Requests to one host at a time.", rich_help_panel=WEB)
    ] = 8,
    overall: Annotated[
        int, typer.Option(min=1, max=1024, help="Requests in all at a time.", rich_help_panel=WEB)
    ] = 128,
    retries: Annotated[int, typer.Option(min=0, help="Tries after the first.", rich_help_panel=WEB)] = 2,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one whole picture.", rich_help_panel=WEB)] = 60,
    max_bytes: Annotated[int, typer.Option(min=1, help="Bytes of one picture.", rich_help_panel=WEB)] = 50_000_000,
    user_agent: Annotated[str | None, typer.Option(help="Who asks; add how to reach you.", rich_help_panel=WEB)] = None,
) -> None:
    """Make a catalogue of your own table and its pictures; run again after an interruption, it goes on."""
    from hangtag.catalogue.fetch import fetch as fetch_table
    from hangtag.catalogue.gather import Bounds
    from hangtag.catalogue.web import Limits
    from hangtag.terminal import say, terminal_stages

    web = Limits(
        per_host=per_host, overall=overall, whole=timeout, retries=retries, max_bytes=max_bytes,
        obey_robots=not ignore_robots, allow_private=allow_private, user_agent=user_agent or _user_agent(),
    )  # fmt: skip
    chosen = None if keys is None else [key.strip() for key in keys.split(",") if key.strip()]
    bounds = Bounds(max_side, allow_outside, web=web)
    try:
        info = fetch_table(table, out, image_column, chosen, seed, config, retry_rejected, bounds, terminal_stages)
    except KeyboardInterrupt:
        complain("stopped; what is complete is kept: run the same command again and it goes on")
        raise typer.Exit(130) from None
    counts = info["counts"]
    parts = ", ".join(f"{name} {counts[name]:,}" for name in ("train", "validation", "test"))
    say(f"{counts['rows']:,} products in {out} ({parts})")
    if counts["rejected"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in info["reasons"].items())
        say(f"{counts['rejected']:,} rejected ({reasons}), see {out / 'rejected.csv'}")
    say(f"next: hangtag describe {out}")


def _user_agent() -> str:
    from importlib import metadata

    return f"hangtag/{metadata.version('hangtag')} (fetches product pictures for a data set)"


@app.command(
    epilog="Examples: [bold]hangtag describe data/shop[/bold], "
    "[bold]hangtag describe data/shop --price-column full_price_eur --out shop.html[/bold]"
)
def describe(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A catalogue, or any imagefolder with a metadata.csv.")],
    out: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="The page; DATA/description.html if not given.")
    ] = None,
    title_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="The titles, if guessed wrong.")] = None,
    category_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The categories, if guessed wrong.")
    ] = None,
    price_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="The prices, if guessed wrong.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="The facts as one JSON object on stdout; a page only with --out.")
    ] = False,
) -> None:
    """Write one page about a catalogue: columns, prices, categories, pictures, tokens, duplicates, leaks, gallery."""
    from hangtag.report.describe import description_json, look_at, write_description
    from hangtag.terminal import say, terminal_stages

    facts, catalogue = look_at(data, title_column, category_column, price_column, terminal_stages)
    page = write_description(facts, catalogue, out) if out or not json else None
    if json:
        print(description_json(facts))
    else:
        groups = facts.groups
        say(f"{facts.rows} rows; {groups.count} groups, of which {groups.crossing} cross a split")
        say(f"page: {page}")
