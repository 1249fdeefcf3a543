"""The fate of a reward by what the chain says of its block."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.ledger import REWARD_STATES, BookedReward
from accounting.maturity import LOOKED_AT_MATURITIES, ORPHAN_DEPTH, due_status, due_statuses
from nips.pool.address import PoolAddress
from nips.pool.chain import Link
from nips.pool.hashing import display, from_display
from nips.pool.statement import BlockReward, Statement, Window


@pytest.mark.parametrize(
    ("state", "confirmations", "tip", "status"),
    [
        ("pending", 99, 1098, None),
        ("pending", 100, 1099, "matured"),
        ("orphaned", 100, 1099, "matured"),
        ("matured", 5000, 6000, None),
        ("void", 100, 1099, None),
        ("pending", -1, 1005, None),
        ("pending", -1, 1006, "orphaned"),
        ("matured", -1, 1200, "orphaned"),
        ("orphaned", -1, 1200, None),
        ("void", -1, 1200, None),
        ("pending", None, 1199, None),
        ("pending", None, 1200, "orphaned"),
        ("matured", None, 9999, None),
        ("pending", None, 0, None),
    ],
)
def test_due_status(state, confirmations, tip, status):
    assert due_status(state, confirmations, height=1000, tip=tip, maturity_blocks=100) == status


def test_a_short_maturity_shortens_the_wait_for_an_orphan():
    assert due_status("pending", -1, height=10, tip=12, maturity_blocks=2) == "orphaned"


MATURITY = 3
POOL = PoolAddress("aa" * 32, "regtest")


class Tree:
    """A block tree, its best chain and who was asked about; blocks are named by number."""

    def __init__(self) -> None:
        self.chain: list[bytes] = [self.name(0)]
        self.known: dict[bytes, int] = {self.name(0): 0}
        self.asked = 0

    @staticmethod
    def name(number: int) -> bytes:
        return number.to_bytes(32, "little")

    def grow(self) -> bytes:
        block = self.name(len(self.known))
        self.known[block] = len(self.chain)
        self.chain.append(block)
        return block

    def height(self) -> int:
        return len(self.chain) - 1

    async def confirmations(self, block_hash: bytes) -> int | None:
        self.asked += 1
        if block_hash not in self.known:
            return None
        if block_hash not in self.chain:
            return -1
        return len(self.chain) - self.chain.index(block_hash)


def booked(block: bytes, height: int, number: int) -> BookedReward:
    body = Statement(
        reward=BlockReward(display(block), height, 1000, 100),
        terms="cc" * 32,
        offer="main",
        window=Window(0, 1, {}),
        fee_msat=100,
        rows=(),
        id=f"{number:064x}",
        signer="dd" * 32,
        pool=POOL,
        link=Link(0, None),
        created_at=1,
    )
    return BookedReward(body, number)


def run(walk):
    """What an async function without anything to wait for returns."""
    with pytest.raises(StopIteration) as stopped:
        walk.send(None)
    return stopped.value.value


def sign(rewards, due, count):
    for statement, status in due[:count]:
        reward = next(each for each in rewards if each.statement.id == statement)
        reward.state = REWARD_STATES[reward.state, status]


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(1, 30), st.sampled_from([0, 1, 3, 1000])),
        # Back by so many blocks and on by a few more: a reorganisation of any depth.
        st.tuples(st.just("reorg"), st.integers(1, 60), st.sampled_from([0, 1, 3, 1000])),
        # Back to a branch that was left before.
        st.tuples(st.just("return"), st.integers(0, 5), st.sampled_from([0, 1, 3, 1000])),
    ),
    max_size=14,
)


@settings(max_examples=200, deadline=None)
@given(ACTS, st.randoms(use_true_random=False))
def test_at_any_depth_of_reorganisation_the_walk_finds_what_a_look_at_everything_does(acts, randomness):
    """Where signing stops half-way, as when the program is killed, the next walk looks at everything."""
    tree, rewards, left = Tree(), [], []
    whole = True
    for act, count, signed in acts:
        if act == "grow":
            for _ in range(count):
                block = tree.grow()
                if randomness.random() < 0.3:
                    rewards.append(booked(block, tree.height(), len(rewards)))
        elif act == "reorg":
            depth = min(count, tree.height())
            left.append(list(tree.chain))
            del tree.chain[len(tree.chain) - depth :]
            for _ in range(depth + 1):
                block = tree.grow()
                if randomness.random() < 0.1:
                    rewards.append(booked(block, tree.height(), len(rewards)))
        elif left:
            chain = left[count % len(left)]
            left.append(list(tree.chain))
            tree.chain = list(chain)
            while tree.height() <= len(left[-1]):
                tree.grow()
        tip = tree.height()
        everything = []
        for reward in sorted(rewards, key=lambda each: (each.statement.reward.height, each.number)):
            height, confirmations = (
                reward.statement.reward.height,
                run(tree.confirmations(from_display(reward.statement.reward.block))),
            )
            status = due_status(reward.state, confirmations, height=height, tip=tip, maturity_blocks=MATURITY)
            if status is not None:
                everything.append((reward.statement.id, status))
        due = run(due_statuses(rewards, lambda _: MATURITY, tree, tip, all_of_them=whole))
        assert due == everything
        sign(rewards, due, signed)
        whole = signed < len(due)


def test_old_rewards_are_not_asked_for_while_the_chain_only_grows():
    tree = Tree()
    rewards = [booked(tree.grow(), number + 1, number) for number in range(200)]
    sign(rewards, run(due_statuses(rewards, lambda _: MATURITY, tree, tree.height())), None)
    assert [each.state for each in rewards].count("matured") == 200 - MATURITY + 1
    tree.asked = 0
    run(due_statuses(rewards, lambda _: MATURITY, tree, tree.height()))
    assert tree.asked <= LOOKED_AT_MATURITIES * MATURITY + 1


def test_of_two_blocks_at_one_height_one_is_orphaned_and_the_other_matures():
    tree = Tree()
    lost = tree.grow()
    tree.chain.pop()
    won = tree.grow()
    rewards = [booked(lost, 1, 0), booked(won, 1, 1)]
    for _ in range(ORPHAN_DEPTH):
        tree.grow()
    sign(rewards, run(due_statuses(rewards, lambda _: 100, tree, tree.height())), None)
    assert [each.state for each in rewards] == ["orphaned", "pending"]
    for _ in range(100):
        tree.grow()
    sign(rewards, run(due_statuses(rewards, lambda _: 100, tree, tree.height())), None)
    assert [each.state for each in rewards] == ["orphaned", "matured"]


def test_what_is_not_ours_to_judge_is_left_alone():
    tree = Tree()
    reward = booked(tree.grow(), 1, 0)
    for _ in range(200):
        tree.grow()
    assert run(due_statuses([reward], lambda _: None, tree, tree.height())) == []
    assert tree.asked == 0
