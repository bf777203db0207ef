"""What annotators mark, followed on images that look like theirs and on no others."""

import numpy as np
import pytest

from bccd_d2.masks.cell_types import SmallOptions, TypeNetworks, TypeOptions, typed
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.habits import Habit, Look, carried, colours, habit_of
from bccd_d2.masks.rle import encode_crop

LOOK = Look((190, 190, 190, 170, 90, 90), (210, 210, 210, 190, 110, 110))
PINK = Habit(1.0, 0.0, 0.4, LOOK)


def smear(background, cell):
    """An image of two square cells, and the cells, in a frame of twice its resolution."""
    image = np.full((60, 80, 3), background, np.uint8)
    image[10:30, 10:30] = image[30:50, 45:65] = cell
    rles = [encode_crop(np.ones((40, 40), bool), y, x, (120, 160)) for y, x in [(20, 20), (60, 90)]]
    return image, Cells.from_rles(rles, (120, 160), [0.9, 0.8])


def test_the_colours_of_an_image_are_those_of_its_background_and_its_surer_cells():
    image, cells = smear((200, 201, 202), (180, 100, 101))
    image[30:50, 45:65] = (10, 20, 30)
    found = Cells.from_rles(cells.rles, cells.image_size, [0.9, 0.4])
    image[5, :5] = 0  # specks do not change a median
    assert colours(image, found).tolist() == [200, 201, 202, 180, 100, 101]
    nothing = colours(image, Cells.empty((120, 160)))
    assert nothing[:3].tolist() == [200, 201, 202] and np.isnan(nothing[3:]).all()
    assert not LOOK.holds(nothing)
    assert LOOK.holds(colours(image, found)) and Look.of(LOOK.row()) == LOOK
    with pytest.raises(ValueError, match="6 lows and as many highs"):
        Look.of(LOOK.row()[:-1])


def test_a_habit_moves_scores_on_images_like_its_own_and_on_no_others():
    networks = TypeNetworks(lambda crops, measures: np.array([[2.0, 0, 1.0], [0, 2.0, -1.0]]))
    options = TypeOptions(counted=(PINK.row(),), small=SmallOptions(reported_from=0.75))
    image, cells = smear((200, 201, 202), (180, 100, 101))
    chances = np.array([0.9, 0.8]) / (1 + np.exp([-1.0, 1.0]))
    expected = [0.75 + 0.25 * (chances[0] - 0.4) / 0.6, chances[1] * 0.75 / 0.4]
    assert typed(image, cells, networks, options).scores == pytest.approx(expected)
    for strange in (smear((240, 240, 240), (180, 100, 101)), smear((200, 200, 200), (150, 90, 90))):
        answer = typed(*strange, networks, options)
        assert answer.scores == pytest.approx([0.9, 0.8])
        assert answer.class_ids.tolist() == [0, 1]


def test_small_cells_of_a_stranger_score_by_the_logit_alone():
    """What annotators of other laboratories leave out says nothing of them."""
    shown = np.zeros((60, 80), np.float32)
    shown[20:26, 50:56] = 0.9
    networks = TypeNetworks(
        lambda crops, measures: np.tile([0, 2.0, 1.0], (len(crops), 1)), lambda image: shown
    )
    small = SmallOptions((8,), counted=(0.0, 1.0, -3.0), where=(LOOK.row(),), reported_from=0.75)
    options = TypeOptions(small=small)

    def score(*given):
        return typed(*given, networks, options).scores[-1]

    own = 1 / (1 + np.exp(2.0))
    assert score(*smear((200, 201, 202), (180, 100, 101))) == pytest.approx(1.5 * own)
    stranger = 1 / (1 + np.exp(-0.5))
    expected = 0.75 + 0.25 * (stranger - 0.5) / 0.5
    assert score(*smear((240, 240, 240), (180, 100, 101))) == pytest.approx(expected)
    with pytest.raises(ValueError, match="6 lows"):
        SmallOptions(where=((1.0, 2.0),))


def test_the_first_habit_that_holds_is_taken():
    image, cells = smear((200, 200, 200), (180, 100, 100))
    other = Habit(0.0, 0.0, 0.5, Look((0,) * 6, (255,) * 6))
    assert habit_of(colours(image, cells), (PINK, other)) is PINK
    assert habit_of(colours(*smear((90, 90, 90), (40, 30, 30))), (PINK, other)) is other
    assert habit_of(colours(image, cells), ()) is None


def test_scores_are_carried_to_another_threshold_in_their_order():
    values = np.array([0.0, 0.2, 0.4, 0.7, 1.0])
    assert carried(values, 0.4, 0.8) == pytest.approx([0, 0.4, 0.8, 0.9, 1])


@pytest.mark.parametrize("row", [(1.0, 0.0), PINK.row()[:-1], (1.0, 0.0, 0.0, *PINK.row()[3:])])
def test_a_row_that_is_no_habit_is_refused(row):
    with pytest.raises(ValueError, match="rows of 15 numbers, the third in .0, 1.*bccd types"):
        TypeOptions(counted=(row,), small=SmallOptions(reported_from=0.5))


def test_a_habit_of_an_earlier_version_or_without_a_threshold_is_refused():
    with pytest.raises(ValueError, match="wants rows.*learns its types again by bccd types"):
        TypeOptions(counted=(1.4, 1.7))
    with pytest.raises(ValueError, match="REPORTED_FROM above 0"):
        TypeOptions(counted=(PINK.row(),))
    assert Habit.of(PINK.row()) == PINK
