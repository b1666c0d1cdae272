"""Short Chinese review texts whose mood follows the rating; mostly, as with real people."""

from typing import Final

import numpy as np

from xmkt_assets.simulate import chance

TEMPLATES: Final[dict[int, tuple[str, ...]]] = {
    5: (
        "老师讲得非常清楚,{topic}终于入门了,强烈推荐!",
        "内容扎实,案例很实用,物超所值。",
        "听完收获很大,已经推荐给朋友了。",
        "{topic}课里最好的一门,节奏刚刚好,太喜欢了。",
        "干货满满,作业也有用心批改,五星好评!",
    ),
    4: (
        "整体不错,{topic}的部分很有帮助。",
        "讲解清晰,如果案例再多一些就更好了。",
        "挺好的课,性价比不错,会继续学下去。",
        "内容有用,只是更新稍微慢了一点。",
    ),
    3: (
        "一般般,{topic}的内容比较基础。",
        "中规中矩,有些章节有用,有些略显啰嗦。",
        "还可以吧,没有想象中深入。",
    ),
    2: (
        "有点失望,{topic}讲得太浅了。",
        "内容和介绍不太一样,不太值这个价。",
        "节奏拖沓,听到一半就不想听了。",
    ),
    1: (
        "太差了,完全是浪费时间和钱。",
        "{topic}内容东拼西凑,客服也不理人,要求退款。",
        "音质很差,讲得一塌糊涂,后悔购买。",
    ),
}
EMPTY_SHARE: Final = 0.1
OFF_MOOD_SHARE: Final = 0.05


def review_texts(rating: chance.Ints, topics: list[str], ids: chance.Bits, *, seed: int) -> list[str]:
    """One text per review; one in ten is empty, one in twenty speaks a star higher or lower than its rating."""
    shift = np.where(chance.uniform(seed, "reviews/shift", ids) < 0.5, -1, 1)
    is_off = chance.happens(OFF_MOOD_SHARE, seed, "reviews/off mood", ids)
    mood = np.clip(rating + np.where(is_off, shift, 0), 1, 5)
    is_empty = chance.happens(EMPTY_SHARE, seed, "reviews/empty", ids)
    chosen = chance.uniform(seed, "reviews/template", ids)
    return [
        "" if empty else TEMPLATES[int(m)][int(u * len(TEMPLATES[int(m)]))].format(topic=topic)
        for m, topic, empty, u in zip(mood, topics, is_empty, chosen, strict=True)
    ]
