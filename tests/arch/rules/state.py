"""Rules on state that outlives its owner: a module holds constants, an object holds state.

The precise rule for a name bound at module level, outside `app.py`:

1. A list, dict or set (display, comprehension, or a call such as `dict(...)`) is a constant table,
   so its name is UPPER_CASE; and nothing in the package changes what an UPPER_CASE name holds.
2. What a call returns is a constant as well and named so, except for the makers of values that
   cannot change, whose names Python writes otherwise (`T = TypeVar(...)`, `log = getLogger(...)`).
3. What is state by its nature (a lock, a counter, an event, a metric) stands in no module at all.
4. `global` is not used.

Class bodies are ruff's (RUF012), which knows the types whose defaults are copied.
"""

import ast
import re
from collections.abc import Iterator

from tests.arch.rule import Findings, Rule, code
from tests.arch.tree import Source

CONTAINERS = {"list", "dict", "set", "bytearray", "deque", "OrderedDict"}
# fmt: off
STATEFUL = {
    "BytesIO", "CapacityLimiter", "CollectorRegistry", "Condition", "ContextVar", "Counter",
    "Event", "Gauge", "Histogram", "Info", "Lock", "Parker", "Queue", "RLock", "Random",
    "RunVar", "SSLContext", "Semaphore", "SimpleQueue", "StrictFIFOLock", "StringIO", "Summary",
    "Thread", "ThreadPoolExecutor", "TreeVar", "WeakKeyDictionary", "WeakSet",
    "WeakValueDictionary", "connect", "count", "create_default_context", "cycle", "defaultdict",
    "iter", "local", "open", "open_memory_channel", "open_nursery", "socket",
}
UNCHANGING = {
    "Decoder", "Encoder", "MappingProxyType", "NewType", "ParamSpec", "TypeVar", "TypeVarTuple",
    "argument", "attrgetter", "bytes", "compile", "frozenset", "getLogger", "itemgetter",
    "maketrans", "namedtuple", "option", "partial", "tuple",
}
MUTATORS = {
    "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop",
    "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort", "update",
}
# fmt: on
DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
UPPER = re.compile(r"_{0,2}[A-Z][A-Z0-9_]+")


def module_state(source: Source) -> Findings:
    for node in _module_level(source.tree.body):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        constant = all(UPPER.fullmatch(name) or name == "__all__" for name in names)
        maker = source.dotted(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""
        if maker in STATEFUL:
            yield node.lineno, f"{maker} is state: give it an object that owns it"
        elif constant:
            continue
        elif _is_container(value) or maker in CONTAINERS:
            yield (
                node.lineno,
                f"{names[0]}: a table is a constant in UPPER_CASE; state has an owner",
            )
        elif isinstance(value, ast.Call) and maker not in UNCHANGING:
            yield node.lineno, f"{names[0]}: a constant is UPPER_CASE; state has an owner"


def _module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run on import, those inside `if`, `try`, `with` and loops included."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody", "handlers"):
            inner = getattr(node, field, [])
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _module_level(inner)


def _is_container(value: ast.expr) -> bool:
    if isinstance(value, ast.BinOp):
        return _is_container(value.left) or _is_container(value.right)
    if isinstance(value, ast.IfExp):
        return _is_container(value.body) or _is_container(value.orelse)
    return isinstance(value, DISPLAYS)


def changed_constants(source: Source) -> Findings:
    for node in source.nodes:
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            if _constant(node.value):
                yield node.lineno, f"{ast.unparse(node.value)} is a constant: do not change it"
        elif isinstance(node, ast.AugAssign) and _constant(node.target):
            yield node.lineno, f"{ast.unparse(node.target)} is a constant: do not change it"
        elif isinstance(node, ast.Call) and _mutator(node.func):
            yield node.lineno, f"{ast.unparse(node.func)} changes a constant"


def _mutator(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in MUTATORS and _constant(node.value)


def _constant(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return bool(UPPER.fullmatch(name))


def global_statement(source: Source) -> Findings:
    for node in source.nodes:
        if isinstance(node, ast.Global):
            yield node.lineno, "global: give the state an object that owns it"


def stateless(source: Source) -> bool:
    """The composition root is the one place that may hold what lives as long as the process."""
    return source.under("kproxy") and source.path != "kproxy/app.py"


RULES = (
    Rule(
        "no module-level state",
        module_state,
        stateless,
        bad=(
            code("cache = {}"),
            code("seen: set[str] = set()"),
            code("from collections import deque\nwaiting = deque()"),
            code("names = ['a'] + ['b']"),
            code("pool = Pool()"),
            code("import trio\nLOCK = trio.Lock()"),
            code("import itertools\nNEXT_ID = itertools.count()"),
            code("from prometheus_client import Counter\nREQUESTS = Counter('a', 'b')"),
            code("if True:\n    cache = {}"),
            code("try:\n    import x\nexcept ImportError:\n    known = []"),
        ),
        good=(
            code("TABLE = {'a': 1}\n_KNOWN: Final = frozenset({'a'})"),
            code("__all__ = ['f']"),
            code("import re\n_word = re.compile('a')\nT = TypeVar('T')"),
            code("def f():\n    seen = set()\n    return seen"),
            code("class A:\n    __slots__ = ('a',)\n    def f(self):\n        self.a = []"),
            code("cache = {}", at="kproxy/app.py"),
            code("Pair = tuple[int, int]\nlimit = 3"),
        ),
    ),
    Rule(
        "constants stay",
        changed_constants,
        stateless,
        bad=(
            code("def f():\n    TABLE['a'] = 1"),
            code("def f():\n    del TABLE['a']"),
            code("from kproxy import tables\ntables.KNOWN.add('a')"),
            code("def f():\n    _NAMES.append('a')"),
            code("TABLE = {}\nTABLE |= {'a': 1}"),
        ),
        good=(code("def f(table):\n    table['a'] = TABLE['a']\n    return TABLE.get('b')"),),
    ),
    Rule(
        "no global",
        global_statement,
        stateless,
        bad=(code("def f():\n    global x\n    x = 1"),),
    ),
)
