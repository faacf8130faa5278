"""A simulator of memory that shares no code with the planner: random graphs of kernels with versions, views, in-place
steps, scratch memory and kept inputs are run in the plan's order, and every byte that is read is looked at."""

from hypothesis import given, settings
from hypothesis import strategies as st

from archfab.hardware.memory import Graph, Step, plan


@st.composite
def programs(draw):
    """A graph whose buffers have odd names; steps read buffers or views of them, write one or two, new or old."""
    sizes = {f"x{i}": draw(st.integers(0, 7)) for i in range(draw(st.integers(1, 2)))}
    inputs, views, steps = list(sizes), {}, []
    keep = draw(st.booleans())
    for k in range(draw(st.integers(1, 9))):
        if draw(st.integers(0, 3)) == 0:
            views[f"v{k}"] = draw(st.sampled_from([*sizes, *views]))
        reads = tuple(draw(st.lists(st.sampled_from([*sizes, *views]), max_size=3, unique=True)))
        old = [b for b in sizes if not (keep and b in inputs)]
        writes = [draw(st.sampled_from(old))] if old and draw(st.integers(0, 4)) == 0 else [f"b{k}"]
        if draw(st.integers(0, 5)) == 0:
            writes.append(f"c{k}")
        for b in writes:
            if b not in sizes:
                alike = bool(reads) and draw(st.booleans())
                sizes[b] = sizes[root(reads[0], views)] if alike else draw(st.integers(0, 7))
        over = tuple(b for b in reads if draw(st.booleans())) if draw(st.booleans()) else ()
        steps.append(Step(reads, tuple(writes), f"s{k}", over, draw(st.sampled_from((0, 0, 3)))))
    outputs = tuple(draw(st.lists(st.sampled_from([*sizes, *views]), max_size=2, unique=True)))
    sizes |= {view: sizes[root(view, views)] for view in views}
    return Graph(steps, sizes, inputs, outputs, keep, views)


def root(name, views):
    while name in views:
        name = views[name]
    return name


def versions(graph):
    """What each step reads and writes in the graph's own order: buffer and version; and the last version of each."""
    now = dict.fromkeys(graph.inputs, 0)
    read, written = [], []
    for step in graph.steps:
        read.append({(root(b, graph.views), now[root(b, graph.views)]) for b in step.reads})
        for b in step.writes:
            now[root(b, graph.views)] = now.get(root(b, graph.views), -1) + 1
        written.append([(root(b, graph.views), now[root(b, graph.views)]) for b in step.writes])
    return read, written, now


def simulate(graph, found):
    """Runs the plan: a byte holds (buffer, version); a step's writes and its scratch memory may only fall on bytes that
    nobody reads any more, and a step sees each version whole when it starts.

    A step in place reads and writes a byte at once, so its first write may lie exactly on what it overwrites; all other
    writes, and scratch memory, must lie beside everything that it reads.
    """
    read, written, last = versions(graph)
    memory = dict.fromkeys(range(found.arena))

    def place(b):
        return range(found.offsets[b], found.offsets[b] + graph.sizes[b])

    def put(content, where):
        for at in where:
            assert at in memory, "outside of the arena"
            memory[at] = content

    def whole(content):
        assert all(memory[at] == content for at in place(content[0])), f"{content} is not there"

    for b in graph.inputs:
        assert all(memory[at] is None for at in place(b)), "two inputs in one place"
        put((b, 0), place(b))
    assert sorted(found.order) == list(range(len(graph.steps)))
    for k in found.order:
        step = graph.steps[k]
        for content in read[k]:
            whole(content)
        scratch = range(found.scratch[k], found.scratch[k] + step.scratch) if step.scratch else ()
        reading = {at for b, _ in read[k] for at in place(b)}
        assert not reading & {*scratch}, "scratch memory on what is read"
        used = {*scratch}
        for i, (b, version) in enumerate(written[k]):
            here = {*place(b)}
            over = {root(name, graph.views) for name in step.overwrites} if i == 0 else set()
            over -= {root(name, graph.views) for name in step.reads if name not in step.overwrites}
            beside = {at for name, _ in read[k] for at in place(name)
                      if name != b and not (name in over and place(name) == place(b))}
            assert not here & beside, f"{b} is written over what step {k} reads"
            assert not here & used, "two writes of a step in one place"
            used |= here
            put((b, version), here)
        put(("scratch", k), scratch)
    for b in [*graph.outputs, *(graph.inputs if graph.keep_inputs else ())]:
        whole((root(b, graph.views), last[root(b, graph.views)]))
    assert all(found.offsets[view] == found.offsets[whose] for view, whose in graph.views.items()
               if view in found.offsets)


@settings(max_examples=400, deadline=None)
@given(programs(), st.booleans(), st.booleans(), st.sampled_from((1, 4)))
def test_a_simulated_memory_holds_what_every_step_must_see(graph, reorder, in_place, alignment):
    found = plan(graph, reorder, in_place, alignment)
    simulate(graph, found)
    assert all(at % alignment == 0 for at in (*found.offsets.values(), *found.scratch.values()))
    assert found.bound <= found.arena and max(found.live) == found.peak <= found.arena
