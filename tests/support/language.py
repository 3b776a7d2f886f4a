"""Rules of language that a machine can check: how sentences begin, words that stay out, the length of test names."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

MAX_TEST_NAME = 80
BANNED_OPENINGS = re.compile(r"(Of|What|Whatever|Whether|How|Where|Who|Whoever|Why|When|Which|Those|That)\b")
"""No docstring begins with one of these."""
NOT_VERBS = re.compile(
    r"(The|A|An|All|Every|Each|Any|One|Two|None|Nothing|Its|Their|Until|As|For|From|In|On|At|By|With|Without|Same|This|It"
    r"|Is|Not|Only|More|Most|Bytes|Seconds)\b"
)
"""A function's docstring in src begins with a verb, so with none of these; those of properties and fixtures may."""
BANNED_WORDS = re.compile(
    r"\b(whoever|nobody|somebody|anew|beside|so many|pictures?|lies|stands|told|tells|aloud|wish|wishes|workshop"
    r"|tally|tallies)\b",
    re.IGNORECASE,
)
CONTRACTS = re.compile(r'imgsvc:tally:|"Wish"|"nobody"|colour,pictures|`pictures`')
"""Strings that other software or earlier data fix: a Redis key, a published title, a Unix user, unknown columns."""
CODE = re.compile(r"`[^`]*`|\]\([^)]*\)")
"""Code and link targets inside a sentence, which keep their spelling."""
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def violations(path: Path) -> Iterator[str]:
    """Yield `line: rule: text` for each sentence and name in a Python file or a Markdown page that breaks a rule."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _docstrings(ast.parse(text), verbs="src" in path.parts)
        yield from _words(text)
        yield from _test_names(ast.parse(text))
    else:
        yield from _page(text)


def _docstrings(tree: ast.Module, *, verbs: bool) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | FUNCTION) or not (text := ast.get_docstring(node)):
            continue
        first = text.partition("\n")[0]
        line = node.body[0].lineno
        if BANNED_OPENINGS.match(first):
            yield f"{line}: opening: {first}"
        elif verbs and isinstance(node, FUNCTION) and not _may_be_a_noun(node) and NOT_VERBS.match(first):
            yield f"{line}: begins without a verb: {first}"


def _may_be_a_noun(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(re.search("property|fixture", ast.unparse(decorator)) for decorator in node.decorator_list)


def _words(text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.STRING, tokenize.COMMENT}:
            lines = enumerate(token.string.split("\n"), token.start[0])
            yield from (f"{at}: word: {line.strip()}" for at, line in lines if _has_banned_word(line))
        elif token.type == tokenize.NAME and _has_banned_word(token.string.replace("_", " ")):
            yield f"{token.start[0]}: name: {token.string}"


def _has_banned_word(line: str) -> bool:
    return BANNED_WORDS.search(CODE.sub("", CONTRACTS.sub("", line))) is not None


def _test_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION) and node.name.startswith("test_") and len(node.name) > MAX_TEST_NAME:
            yield f"{node.lineno}: {len(node.name)} letters: {node.name}"


def _page(text: str) -> Iterator[str]:
    is_code = False
    for at, line in enumerate(text.split("\n"), 1):
        is_code ^= line.startswith("```")
        if not is_code and (_has_banned_word(line) or re.match(r"[\s|#*-]*Of\b", line)):
            yield f"{at}: {line.strip()}"
