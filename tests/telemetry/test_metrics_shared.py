"""Metrics of several workers: whoever is asked answers for all, whoever dies is remembered."""

from kproxy.telemetry.metrics import Metrics


class Wall:
    """What each of several workers shows; some of them may be gone."""

    def __init__(self) -> None:
        self.shown: dict[int, bytes] = {}
        self.gone: set[int] = set()

    def place(self, number: int) -> "Post":
        return Post(self, number)


class Post:
    def __init__(self, wall: Wall, number: int) -> None:
        self.wall = wall
        self.number = number
        self.left = wall.shown.get(number)

    def show(self, payload: bytes) -> bool:
        self.wall.shown[self.number] = payload
        return True

    def others(self) -> list[tuple[bytes, bool]]:
        return [
            (payload, number not in self.wall.gone)
            for number, payload in self.wall.shown.items()
            if number != self.number
        ]


def worker(wall: Wall, number: int, connections: int = 0, refused: int = 0) -> Metrics:
    metrics = Metrics([])
    metrics.watch("kproxy_connections", "Open.", lambda: connections)
    metrics.watch_count("kproxy_turned", "Refused.", lambda: refused)
    metrics.watch_count("kproxy_seen", "By all.", lambda: refused, "max")
    metrics.watch("kproxy_lag", "Lag.", lambda: float(number), "max")
    metrics.share(wall.place(number))
    return metrics


def figures(metrics: Metrics) -> dict[str, float]:
    lines = metrics.render().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    wanted = (
        "kproxy_requests_total", "kproxy_connections", "kproxy_turned", "kproxy_seen", "kproxy_lag",
    )  # fmt: skip
    return {
        name.partition("{")[0]: float(value) for name, value in pairs if name.startswith(wanted)
    }


def test_whoever_is_asked_answers_for_all() -> None:
    wall = Wall()
    one, other = worker(wall, 1, 3, 1), worker(wall, 2, 4, 1)
    one.request("/livez", 200, 0.1)
    for _ in range(5):
        other.request("/livez", 200, 0.1)
    assert other.show()
    all_of_them = {
        "kproxy_requests_total": 6,
        "kproxy_connections": 7,
        "kproxy_turned_total": 2,
        "kproxy_seen_total": 1,
        "kproxy_lag": 2,
    }
    assert figures(one) == all_of_them
    assert figures(other) == all_of_them, "the first has shown what it told"


def test_no_counter_goes_back_when_one_is_replaced() -> None:
    wall = Wall()
    one, dying = worker(wall, 1, 3), worker(wall, 2, 4, 1)
    for _ in range(5):
        dying.request("/livez", 200, 0.1)
    assert figures(dying)["kproxy_requests_total"] == 5
    wall.gone.add(2)
    alone = {
        "kproxy_requests_total": 5,
        "kproxy_connections": 3,
        "kproxy_turned_total": 1,
        "kproxy_seen_total": 1,
        "kproxy_lag": 1,
    }
    assert figures(one) == alone
    heir = worker(wall, 2, 2)
    heir.request("/livez", 200, 0.1)
    assert heir.show()
    wall.gone.clear()
    both = {
        "kproxy_requests_total": 6,
        "kproxy_connections": 5,
        "kproxy_turned_total": 1,
        "kproxy_seen_total": 1,
        "kproxy_lag": 2,
    }
    assert figures(one) == both
    assert figures(heir) == both
    third = worker(wall, 2)
    assert figures(third)["kproxy_requests_total"] == 6, "over and over"


def test_one_alone_shares_nothing() -> None:
    metrics = Metrics([])
    assert metrics.show()
    metrics.request("/livez", 200, 0.1)
    assert b'kproxy_requests_total{route="/livez",status="200"} 1.0' in metrics.render()
