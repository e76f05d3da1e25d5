"""Rules on cancellation and waiting in line (habits 3, 4 and 10; section 6, no. 8 to 10)."""

import ast
import re

from tests.arch.rule import Findings, Rule, code, everywhere, in_package
from tests.arch.tree import Source

DEADLINES = frozenset({"move_on_after", "move_on_at", "fail_after", "fail_at"})
CANCELLED = frozenset({"Cancelled", "get_cancelled_exc_class"})


def shield_deadline(source: Source) -> Findings:
    for call, name in source.calls():
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        shield = keywords.get("shield")
        if shield is None or (isinstance(shield, ast.Constant) and shield.value is False):
            continue
        limit = keywords.get("deadline")
        if name.rpartition(".")[2] in DEADLINES:
            limit = call.args[0] if call.args else (keywords.get("seconds") or limit)
        if limit is None or source.dotted(limit).rpartition(".")[2] == "inf":
            yield call.lineno, "a shield without a deadline outlives every outer deadline"
    for node in source.nodes:
        if isinstance(node, ast.Assign) and _raises_shield(node):
            yield node.lineno, "raise the shield where its deadline is given"


def _raises_shield(node: ast.Assign) -> bool:
    if isinstance(node.value, ast.Constant) and node.value.value is False:
        return False
    return any(isinstance(t, ast.Attribute) and t.attr == "shield" for t in node.targets)


def memory_channel(source: Source) -> Findings:
    for node, name in source.calls():
        if name.rpartition(".")[2] not in {"open_memory_channel", "create_memory_object_stream"}:
            continue
        size = node.args[0] if node.args else None
        if isinstance(size, ast.Constant) and size.value == 0:
            continue
        near = source.comments.get(node.lineno, "") + source.comments.get(node.lineno - 1, "")
        if not re.search(r"\bmeasured\b.*\d|\d.*\bmeasured\b", near):
            yield node.lineno, "a buffer is 0, or a comment says what was measured, with a number"


def handlers(source: Source) -> Findings:
    for node in source.nodes:
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            yield node.lineno, "bare except: name what you can handle"
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        for kind in caught:
            called = kind.func if isinstance(kind, ast.Call) else kind
            name = source.dotted(called).rpartition(".")[2]
            if name in CANCELLED:
                yield node.lineno, "a cancellation is not yours to catch: use finally"
            elif name == "BaseException" and not isinstance(node.body[-1], ast.Raise):
                yield node.lineno, "except BaseException ends in raise"


RULES = (
    Rule(
        "shields have deadlines",
        shield_deadline,
        everywhere,
        bad=(
            code("import trio\nwith trio.CancelScope(shield=True): ..."),
            code("from trio import CancelScope as Scope\nwith Scope(shield=yes): ..."),
            code("import trio\nscope.shield = True"),
            code("import math, trio\nwith trio.move_on_after(math.inf, shield=True): ..."),
            code("import trio\nwith trio.CancelScope(deadline=trio.inf, shield=True): ..."),
        ),
        good=(
            code("import trio\nwith trio.move_on_after(1, shield=True): ..."),
            code("import trio\nwith trio.fail_after(seconds=1, shield=True): ..."),
            code("import trio\nwith trio.CancelScope(deadline=at, shield=True): ..."),
            code("import trio\nwith trio.CancelScope(shield=False): ..."),
        ),
    ),
    Rule(
        "channels hold nothing",
        memory_channel,
        in_package,
        bad=(
            code("import trio\ntrio.open_memory_channel(1)"),
            code("import math, trio\ntrio.open_memory_channel[int](math.inf)"),
            code("import trio\n# big enough\ntrio.open_memory_channel(100)"),
        ),
        good=(
            code("import trio\ntrio.open_memory_channel[int](0)"),
            code(
                "import trio\n# measured: 64 rows a commit cost 3 us each\nopen_memory_channel(64)"
            ),
        ),
    ),
    Rule(
        "exception handlers",
        handlers,
        everywhere,
        bad=(
            code("try: ...\nexcept: ..."),
            code("try: ...\nexcept BaseException:\n    log()"),
            code("try: ...\nexcept (OSError, BaseException):\n    log()"),
            code("import trio\ntry: ...\nexcept trio.Cancelled:\n    raise"),
            code("from trio import Cancelled\ntry: ...\nexcept* Cancelled: ..."),
            code("import anyio\ntry: ...\nexcept anyio.get_cancelled_exc_class(): ..."),
        ),
        good=(
            code("try: ...\nexcept BaseException:\n    close()\n    raise"),
            code("try: ...\nexcept Exception:\n    log()"),
        ),
    ),
)
