"""``nlphub init`` and ``nlphub doctor``: from a file of labelled texts to a recipe, and what is wrong with a file or an installation."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlphub.cli.output import note, print_json, print_table
from nlphub.errors import InputError

if TYPE_CHECKING:
    from nlphub.data.doctor import Finding, Profile
    from nlphub.data.doctor.findings import Case
    from nlphub.data.sheet import Sheet

Text = Annotated[str | None, typer.Option("--text", help="Column of the texts; default: guessed.")]
Label = Annotated[str | None, typer.Option("--label", help="Column of the labels; default: guessed.")]
Encoding = Annotated[str | None, typer.Option(help="Of a text file; default: found out from the whole file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]

_WIDTH = 48  # characters of a text that are shown
_ROWS = 8  # of a case that are printed at least; a case of copies can have thousands


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(init)
    app.command()(doctor)


def init(
    file: Annotated[str, typer.Argument(help="Labelled texts: xlsx, csv, tsv, jsonl or parquet; the first row names the columns.")],
    text: Text = None,
    label: Label = None,
    encoding: Encoding = None,
    out: Annotated[Path | None, typer.Option(help="The recipe; default: beside FILE, with the suffix .yaml.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a recipe that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at a file of labelled texts and write a recipe that fine-tunes on it. Asks nothing.

    Example: nlphub init intents.xlsx
    """
    from nlphub.data.doctor import describe, examine
    from nlphub.data.doctor.starter import refusal, starter_recipe
    from nlphub.files import publish_text

    sheet, columns = _open(file, text, label, encoding)
    target = out or (Path.cwd() / sheet.path.name if file.startswith("bundle:") else Path(file)).with_suffix(".yaml")
    _check_recipe_name(target, overwrite)
    examples, complaints = sheet.examples(*columns)
    recipe = starter_recipe(sheet, examples, text=columns[0], label=columns[1], target=target, encoding=encoding)
    findings = examine({"train": examples}, complaints={"train": complaints})
    publish_text(target, recipe)
    profile, refused = describe(examples), refusal(target)
    if as_json:
        found = [finding.as_dict(cases=False) for finding in findings]
        print_json(_facts(sheet, columns, profile) | {"findings": found, "recipe": str(target), "refused": refused})
        return
    _print_profile(sheet, columns, profile, guessed=(text is None, label is None))
    _print_findings(findings, f"see them: nlphub doctor {_command(file, text, label, encoding)}")
    print(f"\nwritten: {target}")
    if refused:
        note(f"\n{refused}\nMend the file first; then run: nlphub finetune {shlex.quote(str(target))}")
    else:
        print(f"next:    nlphub finetune {shlex.quote(str(target))}")


def doctor(
    file: Annotated[str | None, typer.Argument(help="Labelled texts; without a file the installation and the store are checked.")] = None,
    against: Annotated[list[str] | None, typer.Option(help="Another split (dev, test) of the same columns: looked at for leakage.")] = None,
    text: Text = None,
    label: Label = None,
    encoding: Encoding = None,
    only: Annotated[list[str] | None, typer.Option(help="A check, e.g. conflicts; give it several times for several.")] = None,
    show: Annotated[int, typer.Option(min=0, help="Cases that are printed of each finding.")] = 3,
    at_least: Annotated[int, typer.Option(help="Labels with fewer examples are reported.")] = 8,
    max_length: Annotated[int, typer.Option(help="Tokens that a module takes, [CLS] and [SEP] included.")] = 512,
    mask: Annotated[Path | None, typer.Option(help="Write a copy of FILE with personal data masked here (.csv, .tsv, .jsonl).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a masked copy that is there.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when anything is found.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with labelled texts: conflicting labels, duplicates, leakage, personal data, ...; or with this installation.

    Example: nlphub doctor train.csv --against test.csv --mask clean.csv
    """
    if file is None:
        _doctor_of_installation(as_json)
        return
    from nlphub.data.doctor import Limits, examine

    sheets, columns = _open_all(file, against or (), text, label, encoding)
    read = {name: sheet.examples(*columns) for name, sheet in sheets.items()}
    limits = Limits(at_least=at_least, max_length=max_length)
    examples, complaints = {name: part for name, (part, _) in read.items()}, {name: wrong for name, (_, wrong) in read.items()}
    findings = examine(examples, limits=limits, complaints=complaints, only=only or ())
    masked = _mask(next(iter(sheets.values())), mask, overwrite=overwrite) if mask else None
    if as_json:
        parts = {name: _facts(sheet, columns) | {"rows": len(examples[name])} for name, sheet in sheets.items()}
        print_json({"files": parts, "findings": [finding.as_dict() for finding in findings], "masked": masked})
    else:
        for name, sheet in sheets.items():
            print(f"{sheet.path.name}: {len(examples[name]):,} rows, texts in column {columns[0]!r}, labels in column {columns[1]!r}")
        _print_findings(findings, "")
        command = f"nlphub doctor {_command(file, text, label, encoding, against)}"
        _print_cases(findings, show, command, _places(sheets))
        _print_masked(mask, masked)
    if strict and findings:
        raise typer.Exit(1)


def _doctor_of_installation(as_json: bool) -> None:
    from nlphub.cli.installation import check_installation

    facts = list(check_installation())
    if as_json:
        print_json([{"name": fact.name, "state": fact.state, "facts": fact.text} for fact in facts])
    else:
        print_table(("WHAT", "STATE", "FACTS"), [(fact.name, fact.state, fact.text) for fact in facts])
    if any(fact.state == "broken" for fact in facts):
        raise typer.Exit(1)


def _open(file: str, text: str | None, label: str | None, encoding: str | None) -> "tuple[Sheet, tuple[str, str]]":
    from nlphub.data.columns import guess_columns
    from nlphub.data.sheet import read_sheet

    sheet = read_sheet(file, encoding=encoding)
    return sheet, guess_columns(sheet, text=text, label=label)


def _open_all(
    file: str, against: Sequence[str], text: str | None, label: str | None, encoding: str | None
) -> "tuple[dict[str, Sheet], tuple[str, str]]":
    """The sheets by their names, which are those of the files as far as they differ, and the columns of the first one."""
    from nlphub.data.sheet import read_sheet

    first, columns = _open(file, text, label, encoding)
    sheets = {first.path.name: first}
    for other in against:
        sheet = read_sheet(other, encoding=encoding)
        sheet.check_columns(*columns)
        if any(sheet.path.samefile(known.path) for known in sheets.values()):
            raise InputError(f"{other} is given twice")
        sheets[sheet.path.name if sheet.path.name not in sheets else str(sheet.path)] = sheet
    return sheets, columns


def _check_recipe_name(target: Path, overwrite: bool) -> None:
    if target.suffix not in (".yaml", ".yml"):
        raise InputError(f"{target} is no name of a recipe; it ends in .yaml")
    if target.exists() and not overwrite:
        raise InputError(f"{target} is there already; --overwrite replaces it, or --out names another")


def _mask(sheet: "Sheet", target: Path, *, overwrite: bool) -> dict[str, dict[str, int]]:
    from nlphub.data.doctor.masked import check_target, write_masked

    check_target(target, sheet, overwrite=overwrite)
    if sheet.complaints:
        note(f"{len(sheet.complaints):,} rows of {sheet.path.name} cannot be read and are not in {target}")
    return write_masked(sheet, target)


def _facts(sheet: "Sheet", columns: tuple[str, str], profile: "Profile | None" = None) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": str(sheet.path), "encoding": sheet.encoding, "text": columns[0], "label": columns[1]}
    return facts | ({"profile": profile.as_dict()} if profile else {})


def _command(file: str, text: str | None, label: str | None, encoding: str | None, against: Sequence[str] | None = None) -> str:
    """The arguments that say the same thing again."""
    options = [("--against", other) for other in against or ()]
    options += [(name, value) for name, value in (("--text", text), ("--label", label), ("--encoding", encoding)) if value]
    return shlex.join([file, *(word for option in options for word in option)])


def _print_profile(sheet: "Sheet", columns: tuple[str, str], profile: "Profile", *, guessed: tuple[bool, bool]) -> None:
    from nlphub.data.columns import other_labels
    from nlphub.data.doctor.findings import counted

    counts, lengths = list(profile.labels.items()), profile.lengths
    others = other_labels(sheet, *columns)
    scripts = [f"{name} {count:,}" for name, count in profile.scripts.items()] + [f"with Latin words in it {profile.mixed:,}"] * bool(
        profile.mixed
    )
    also = f"; also possible: {', '.join(others)}" if others else ""
    rows = [
        ("rows", f"{profile.rows:,}{f', read as {sheet.encoding}' if sheet.encoding else ''}"),
        ("texts", f"column {columns[0]!r}{' (guessed; --text NAME for another)' * guessed[0]}"),
        ("labels", f"column {columns[1]!r}{f' (guessed; --label NAME for another{also})' * guessed[1]}"),
        ("", f"{len(counts)} of them: {_counts(counts)}"),
        (
            "characters",
            f"{lengths['shortest']} to {lengths['longest']}, half of them up to {lengths['median']}, 95 % up to {lengths['p95']}",
        ),
        ("scripts", ", ".join(scripts)),
        ("duplicates", f"{counted(profile.repeated, 'text')} equal to an earlier one"),
    ]
    print(f"{sheet.path.name}\n")
    print("\n".join(f"{name:<12}{fact}" for name, fact in rows))


def _print_findings(findings: "Sequence[Finding]", more: str) -> None:
    print()
    if not findings:
        print("The doctor found nothing wrong.")
        return
    print_table(("CHECK", "FOUND"), [(finding.check, finding.summary) for finding in findings])
    if more:
        print(f"\n{more}")


def _print_cases(findings: "Sequence[Finding]", show: int, command: str, places: Mapping[str, str]) -> None:
    for finding in findings if show else ():
        print(f"\n{finding.check}: {finding.advice}")
        for case in finding.cases[:show]:
            print("\n".join(_lines(case, places, max(show, _ROWS))))
        if len(finding.cases) > show:
            print(f"  {len(finding.cases) - show:,} more: {command} --only {finding.check} --show {len(finding.cases)}")


def _places(sheets: "Mapping[str, Sheet]") -> dict[str, str]:
    """What is printed before the number of a row, for each file: ``"line "``, or ``"train.csv, line "`` where there are several."""
    return {name: f"{name}, " * (len(sheets) > 1) + f"{sheet.unit} " for name, sheet in sheets.items()}


def _lines(case: "Case", places: Mapping[str, str], most: int) -> list[str]:
    """A case: its first rows as lines that line up, its note behind the first one."""
    from nlphub.aligned import aligned

    hints = [f"({case.note})" if case.note else "", *[""] * len(case.rows)]
    cells = [
        (f"{places[row.split]}{row.line}", row.label or "-", _short(row.text), hint) for row, hint in zip(case.rows, hints, strict=False)
    ]
    lines = aligned(cells[0], cells[1:most]).split("\n") if cells else [case.note]
    lines += [f"and {len(cells) - most:,} more rows"] if len(cells) > most else []
    return [f"  {' ' if number else '-'} {line}" for number, line in enumerate(lines)]


def _print_masked(target: Path | None, masked: Mapping[str, Mapping[str, int]] | None) -> None:
    if masked is None:
        return
    parts = [f"{name} {count:,} in {column!r}" for column, kinds in masked.items() for name, count in kinds.items()]
    print(f"\nwritten: {target} (masked: {', '.join(parts) or 'nothing, there was no personal data'})")


def _counts(counts: Sequence[tuple[str, int]]) -> str:
    """The labels with their numbers of examples; of many the first and the last ones."""
    shown = [f"{name} ({count:,})" for name, count in counts]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-3:]])


def _short(text: str) -> str:
    """A text on one line, cut to where personal data were masked or to its beginning."""
    from nlphub.data.doctor.personal import KINDS

    line = " ".join(text.split())
    first = min((place for kind in KINDS if (place := line.find(kind.mask)) >= 0), default=0)
    start = max(0, first - _WIDTH // 2) if len(line) > _WIDTH else 0
    return "…" * (start > 0) + line[start : start + _WIDTH] + "…" * (start + _WIDTH < len(line))
