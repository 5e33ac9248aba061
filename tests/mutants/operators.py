"""What is changed: one decision at a time, in the syntax tree of a module.

Comparisons, boolean logic, arithmetic, constants, filters, returns, statements, arms of a match, members of a table.
Never sentences for people, nor how many seconds a wait takes: no test should hold them word by word.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Site", "sites"]

SWAPS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
SUMS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr, ast.Pow: ast.Mult,
}  # fmt: skip
UNTOUCHED: Final = {"annotation", "returns", "decorator_list", "defaults"}
CALLS: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
PAUSES: Final = {"Wait", "waiting", "Running", "Unknown"}  # calls whose numbers only say when to look again
TOLD: Final = {"sentence", "describe", "__repr__", "__str__"}  # functions that only speak


@dataclass(frozen=True, slots=True)
class Site:
    """One possible change: where, what it says, and how to make it in the tree that it was found in.

    `scope` is a function's qualified name, or with `value` the name that a module or class gives a value.
    """

    line: int
    scope: str
    value: bool
    what: str
    make: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A node and how to put another into its place."""

    node: Any
    put: Callable[[Any], None]


def sites(tree: ast.Module) -> Iterator[Site]:
    """Yield every change of a module, always in the same order."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _of_function(node, node.name)
            case ast.ClassDef():
                yield from _of_class(node)
            case (
                ast.Assign(targets=[ast.Name(name)], value=ast.expr())
                | ast.AnnAssign(target=ast.Name(name), value=ast.expr())
            ):
                yield from _of_value(node, name)


def _of_class(node: ast.ClassDef) -> Iterator[Site]:
    for inner in node.body:
        match inner:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if inner.name not in TOLD:
                yield from _of_function(inner, f"{node.name}.{inner.name}")
            case ast.AnnAssign(target=ast.Name(name), value=ast.expr(), annotation=annotation) if (
                "ClassVar" in ast.unparse(annotation)
            ):
                yield from _of_value(inner, f"{node.name}.{name}")


def _of_value(node: Any, name: str) -> Iterator[Site]:
    """A table, a limit, a set: its members and numbers."""
    if name.rpartition(".")[2] in {"__all__", "verb"}:
        return
    for place in _places(node, "value"):
        for what, put in _value_changes(place):
            yield Site(place.node.lineno, name, value=True, what=what, make=put)


def _value_changes(place: _Place) -> Iterator[tuple[str, Callable[[], None]]]:
    match place.node:
        case ast.Constant():
            yield from _constant(place)
        case ast.Tuple(elts=members) | ast.Set(elts=members) | ast.List(elts=members) if len(members) > 1:
            for at, member in enumerate(members):
                yield f"without {ast.unparse(member)}", lambda at=at: members.pop(at)
        case ast.Dict(keys=keys, values=values) if len(values) > 1:
            for at, key in enumerate(keys):
                if key is not None:
                    yield f"without {ast.unparse(key)}", lambda at=at: (keys.pop(at), values.pop(at))


def _of_function(node: Any, name: str) -> Iterator[Site]:
    first = 1 if ast.get_docstring(node, clean=False) is not None else 0
    for at, statement in enumerate(node.body[first:], first):
        for place in _walk(statement, _setter(node.body, at)):
            for what, put in _changes(place):
                yield Site(
                    place.node.lineno if hasattr(place.node, "lineno") else statement.lineno,
                    name,
                    value=False,
                    what=what,
                    make=put,
                )


def _setter(items: list[Any], at: int) -> Callable[[Any], None]:
    def put(new: Any) -> None:
        items[at] = new

    return put


def _places(node: Any, field: str) -> Iterator[_Place]:
    value = getattr(node, field)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PAUSES:
        _mark_pauses(node)
    if isinstance(value, list):
        for at, item in enumerate(value):
            if isinstance(item, ast.AST):
                yield from _walk(item, _setter(value, at))
    elif isinstance(value, ast.AST):
        yield from _walk(value, lambda new: setattr(node, field, new))


def _mark_pauses(call: ast.Call) -> None:
    for one in (*call.args, *(keyword.value for keyword in call.keywords)):
        if isinstance(one, ast.Constant) and isinstance(one.value, int | float):
            one.pause = True  # type: ignore[attr-defined] # read by `_walk` alone


def _walk(node: Any, put: Callable[[Any], None]) -> Iterator[_Place]:
    """Yield the places of a subtree from outside to inside, without annotations, sentences and messages."""
    if _is_pause(node):
        return
    yield _Place(node, put)
    for field in node._fields:
        if not isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert) and field not in UNTOUCHED:
            yield from _places(node, field)


def _is_pause(node: Any) -> bool:
    """Whether this is a number that `_places` has marked as a pause."""
    return getattr(node, "pause", False)


def _changes(place: _Place) -> Iterator[tuple[str, Callable[[], None]]]:
    for rule in (
        _compared,
        _combined,
        _reckoned,
        _constant,
        _filtered,
        _returned,
        _dropped,
        _called,
        _matched,
        _branched,
    ):
        yield from rule(place)


Changes = Iterator[tuple[str, Callable[[], None]]]


def _to(place: _Place, new: Any) -> tuple[str, Callable[[], None]]:
    ast.fix_missing_locations(ast.copy_location(new, place.node))
    return f"{_short(place.node)} → {_short(new)}", lambda: place.put(new)


def _short(node: Any) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 70 else f"{text[:67]}…"


def _compared(place: _Place) -> Changes:
    match place.node:
        case ast.Compare(left=left, ops=[op], comparators=right):
            for other in SWAPS[type(op)]:
                yield _to(place, ast.Compare(left, [other()], right))


def _combined(place: _Place) -> Changes:
    match place.node:
        case ast.BoolOp(op=op, values=values):
            yield _to(place, ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values))
            for at in range(len(values)):
                rest = values[:at] + values[at + 1 :]
                yield _to(place, ast.BoolOp(op, rest) if len(rest) > 1 else rest[0])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _to(place, operand)


def _reckoned(place: _Place) -> Changes:
    match place.node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in SUMS:
            yield _to(place, ast.BinOp(left, SUMS[type(op)](), right))
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in SUMS:
            yield _to(place, ast.AugAssign(target, SUMS[type(op)](), value))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield _to(place, operand)


def _constant(place: _Place) -> Changes:
    match place.node:
        case ast.Constant(value=bool(value)):
            yield _to(place, ast.Constant(not value))
        case ast.Constant(value=int(value) | float(value)):
            yield _to(place, ast.Constant(value + 1))
        case ast.Constant(value=str(value)) if value and " " not in value:
            yield _to(place, ast.Constant(f"{value}!"))


def _filtered(place: _Place) -> Changes:
    match place.node:
        case ast.comprehension(ifs=[test]):
            yield f"without if {_short(test)}", place.node.ifs.clear


def _returned(place: _Place) -> Changes:
    match place.node:
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield _to(place, ast.Return(ast.Constant(None)))


def _dropped(place: _Place) -> Changes:
    match place.node:
        case (
            ast.Expr(value=ast.Call() | ast.Await())
            | ast.AugAssign()
            | ast.Continue()
            | ast.Break()
            | ast.Raise()
            | ast.Delete()
        ):
            yield _to(place, ast.Pass())


def _called(place: _Place) -> Changes:
    match place.node:
        case ast.Call(func=ast.Name(name), args=args, keywords=keywords) if name in CALLS:
            yield _to(place, ast.Call(ast.Name(CALLS[name], ast.Load()), args, keywords))
        case ast.Call(func=ast.Name("sorted"), args=[one, *_]):
            yield _to(place, ast.Call(ast.Name("list", ast.Load()), [one], []))


def _matched(place: _Place) -> Changes:
    match place.node:
        case ast.match_case(pattern=pattern, guard=None) if (
            not isinstance(pattern, ast.MatchAs) or pattern.pattern is not None
        ):
            yield f"never case {ast.unparse(pattern)}", lambda: setattr(place.node, "guard", _always(pattern, False))
        case ast.match_case(pattern=pattern, guard=ast.expr() as guard):
            # With no guard at all a name would hide the arms after it, which does not compile.
            said = f"case {ast.unparse(pattern)} without if {_short(guard)}"
            yield said, lambda: setattr(place.node, "guard", _always(guard, True))


def _always(near: Any, value: bool) -> ast.Constant:
    return ast.fix_missing_locations(ast.copy_location(ast.Constant(value), near))


def _branched(place: _Place) -> Changes:
    """A condition that is no comparison turned round; those have their own."""
    match place.node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if isinstance(
            test, ast.Name | ast.Attribute | ast.Call | ast.NamedExpr
        ):
            turned = ast.fix_missing_locations(ast.copy_location(ast.UnaryOp(ast.Not(), test), test))
            yield f"not {_short(test)}", lambda: setattr(place.node, "test", turned)
