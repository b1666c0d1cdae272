"""What the two simulated firms sell: about 120 courses and 14 insurance products.

Belongs here: topics, titles, prices, limits, and how they change over time. Does not belong here: who wants what
(``tastes``).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from xmkt_assets.simulate import chance
from xmkt_assets.simulate.calendar import Calendar

TOPICS: Final = ("理财", "健康", "亲子", "旅行", "职场", "语言", "编程", "艺术", "心理", "养老")
SUBJECTS: Final[dict[str, tuple[str, ...]]] = {
    "理财": ("家庭记账", "基金定投", "债券与存款", "股票基础", "税务规划", "资产配置"),
    "健康": ("科学减脂", "睡眠改善", "肩颈康复", "家庭营养", "中医养生", "跑步训练"),
    "亲子": ("正面管教", "绘本阅读", "儿童情绪", "数学启蒙", "青春期沟通", "二孩家庭"),
    "旅行": ("自由行攻略", "旅行摄影", "徒步入门", "小众目的地", "亲子旅行", "签证办理"),
    "职场": ("高效汇报", "时间管理", "团队管理", "面试求职", "副业规划", "公文写作"),
    "语言": ("商务英语", "日语基础", "英语口语", "法语基础", "粤语会话", "雅思写作"),
    "编程": ("Python 数据分析", "网页开发", "SQL 查询", "机器学习", "少儿编程", "办公自动化"),
    "艺术": ("水彩", "书法", "钢琴", "摄影构图", "油画", "古典音乐"),
    "心理": ("情绪管理", "亲密关系", "正念冥想", "焦虑自助", "沟通心理", "原生家庭"),
    "养老": ("退休规划", "老年健康", "长期护理", "隔代教育", "养老社区", "银发生活"),
}
COURSES: Final = len(TOPICS) * 12
UNLIMITED_AGE: Final = 120


class ProductFacts(NamedTuple):
    """One product as the insurer sells it. Money is in yuan here, in fen in the drops.

    `renewal_share` 0 = cannot be renewed.
    """

    name: str
    product_class: str
    topics: tuple[str, ...]
    min_age: int | None
    max_age: int | None
    min_income_yuan: int | None
    annual_premium_yuan: int
    term_days: int
    renewal_share: float
    claims_per_year: float
    popularity: float


PRODUCTS: Final = (
    ProductFacts("百万医疗险", "health", ("健康",), 18, 65, None, 600, 365, 0.85, 1.1, 1.6),
    ProductFacts("重疾险", "health", ("健康", "理财"), 18, 55, None, 3600, 365, 0.92, 0.25, 0.9),
    ProductFacts("防癌医疗险", "health", ("养老", "健康"), 45, 75, None, 900, 365, 0.85, 0.7, 0.8),
    ProductFacts("定期寿险", "life", ("亲子", "理财"), 18, 60, None, 1200, 365, 0.92, 0.02, 1.0),
    ProductFacts("增额终身寿险", "life", ("理财", "养老"), 18, 65, 120_000, 6000, 365, 0.94, 0.02, 0.7),
    ProductFacts("综合意外险", "accident", ("职场",), 18, 65, None, 300, 365, 0.75, 0.6, 1.3),
    ProductFacts("自由职业者月度意外险", "accident", ("编程", "职场"), 18, 60, None, 420, 30, 0.72, 0.8, 1.2),
    ProductFacts("境内旅行险", "travel", ("旅行",), 18, 80, None, 1000, 7, 0.0, 4.0, 1.5),
    ProductFacts("境外旅行险", "travel", ("旅行", "语言"), 18, 75, None, 2400, 15, 0.0, 3.0, 1.2),
    ProductFacts("少儿教育金", "life", ("亲子",), 20, 50, 80_000, 4800, 365, 0.93, 0.0, 0.8),
    ProductFacts("家财与藏品险", "home", ("艺术", "理财"), 18, None, None, 500, 365, 0.7, 0.25, 0.9),
    ProductFacts("车险", "motor", ("旅行", "职场"), 18, 70, 60_000, 3200, 365, 0.8, 0.7, 0.8),
    ProductFacts("养老年金险", "pension", ("养老", "理财"), 40, 65, 80_000, 6000, 365, 0.95, 0.0, 0.9),
    ProductFacts("心理门诊险", "health", ("心理", "职场"), 18, 60, None, 480, 365, 0.75, 1.0, 1.1),
)
WITHDRAWN_PRODUCT: Final = 10  # 家财与藏品险 goes off sale half-way


@dataclass(frozen=True)
class Courses:
    """Courses as arrays of one length. `published_day` and `reprice_day` count from the first day (may be negative)."""

    course_id: tuple[str, ...]
    title: tuple[str, ...]
    topics: tuple[tuple[str, ...], ...]
    topic_shares: chance.Floats  # (topics, courses), columns sum to 1
    teacher: chance.Ints
    duration_seconds: chance.Ints
    popularity: chance.Floats
    quality: chance.Floats
    published_day: chance.Ints
    price_fen: chance.Ints
    reprice_day: chance.Ints
    new_price_fen: chance.Ints

    def price_at(self, course: chance.Ints, day: chance.Ints) -> chance.Ints:
        return np.where(day >= self.reprice_day[course], self.new_price_fen[course], self.price_fen[course])


@dataclass(frozen=True)
class Products:
    """Products as arrays of one length; `off_sale_day` counts from the first day."""

    product_id: tuple[str, ...]
    topic_shares: chance.Floats  # (topics, products), columns sum to 1
    min_age: chance.Ints
    max_age: chance.Ints
    min_income_fen: chance.Ints
    premium_fen: chance.Ints
    term_days: chance.Ints
    renewal_share: chance.Floats
    claims_per_year: chance.Floats
    popularity: chance.Floats
    off_sale_day: chance.Ints


def make_courses(seed: int, calendar: Calendar) -> Courses:
    """12 courses per topic; one in ten appears during the simulated days, one in six changes its price."""
    index = np.arange(COURSES)
    main = index // 12
    second = chance.whole(0, len(TOPICS) - 1, seed, "course/second topic", index)
    has_second = chance.happens(0.5, seed, "course/has second topic", index) & (second != main)
    popularity = 1.0 / (1.0 + np.argsort(np.argsort(chance.uniform(seed, "course/popularity", index)))) ** 0.7
    price_fen = 100 * chance.whole(19, 399, seed, "course/price", index)
    is_new = chance.happens(0.1, seed, "course/is new", index)
    days = calendar.days
    published = np.where(
        is_new,
        chance.whole(5, max(5, days * 3 // 4), seed, "course/new day", index),
        -chance.whole(10, 900, seed, "course/old day", index),
    )
    reprices = chance.happens(1 / 6, seed, "course/reprices", index) & ~is_new
    reprice_day = np.where(reprices, calendar.batch_day(chance.whole(3, days, seed, "course/reprice day", index)), days)
    return Courses(
        course_id=tuple(f"c{number:04d}" for number in 1 + np.argsort(chance.uniform(seed, "course/id", index))),
        title=tuple(_title(i) for i in range(COURSES)),
        topics=tuple(
            (TOPICS[m], TOPICS[s]) if h else (TOPICS[m],) for m, s, h in zip(main, second, has_second, strict=True)
        ),
        topic_shares=_topic_shares(main, np.where(has_second, second, main)),
        teacher=chance.whole(1, 40, seed, "course/teacher", index),
        duration_seconds=60 * chance.whole(40, 1500, seed, "course/duration", index),
        popularity=np.asarray(popularity, dtype=np.float64),
        quality=chance.normal(seed, "course/quality", index),
        published_day=published,
        price_fen=price_fen,
        reprice_day=reprice_day,
        new_price_fen=(price_fen * 8 // 10 // 100) * 100,
    )


def make_products(calendar: Calendar) -> Products:
    """The 14 products; the same in every world, so that only people differ between seeds."""
    main = np.array([TOPICS.index(p.topics[0]) for p in PRODUCTS])
    second = np.array([TOPICS.index(p.topics[-1]) for p in PRODUCTS])
    off_sale = np.full(len(PRODUCTS), calendar.days)
    off_sale[WITHDRAWN_PRODUCT] = calendar.days // 2
    return Products(
        product_id=tuple(f"p{number:02d}" for number in range(1, len(PRODUCTS) + 1)),
        topic_shares=_topic_shares(main, second),
        min_age=np.array([p.min_age or 0 for p in PRODUCTS]),
        max_age=np.array([UNLIMITED_AGE if p.max_age is None else p.max_age for p in PRODUCTS]),
        min_income_fen=np.array([100 * (p.min_income_yuan or 0) for p in PRODUCTS]),
        premium_fen=np.array([100 * p.annual_premium_yuan for p in PRODUCTS]),
        term_days=np.array([p.term_days for p in PRODUCTS]),
        renewal_share=np.array([p.renewal_share for p in PRODUCTS]),
        claims_per_year=np.array([p.claims_per_year for p in PRODUCTS]),
        popularity=np.array([p.popularity for p in PRODUCTS]),
        off_sale_day=off_sale,
    )


def courses_drop(courses: Courses, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """One row per course and state; all on the first day, later only new courses and new prices. `day` = drop day."""
    index = np.arange(COURSES)
    is_later = courses.published_day >= 0
    first = _course_rows(
        courses, index, np.maximum(courses.published_day, 0), courses.price_fen, seed=seed, calendar=calendar
    )
    changed = index[(courses.reprice_day < calendar.days) & ~is_later]
    again = _course_rows(
        courses, changed, courses.reprice_day[changed], courses.new_price_fen[changed], seed=seed, calendar=calendar
    )
    return pl.concat([first, again]).filter(pl.col("day") < calendar.days).sort("day", "course_id")


def products_drop(products: Products, *, seed: int, calendar: Calendar) -> pl.DataFrame:
    """One row per product and state; all on the first day, later only the product that goes off sale."""
    index = np.arange(len(PRODUCTS))
    gone = index[products.off_sale_day < calendar.days]
    first = _product_rows(products, index, np.zeros(len(index), dtype=np.int64), True, seed=seed, calendar=calendar)
    last = _product_rows(products, gone, products.off_sale_day[gone], False, seed=seed, calendar=calendar)
    return pl.concat([first, last]).sort("day", "product_id")


def _course_rows(
    courses: Courses, of: chance.Ints, day: chance.Ints, price_fen: chance.Ints, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "day": day,
            "course_id": [courses.course_id[i] for i in of],
            "title": [courses.title[i] for i in of],
            "topics": ["|".join(courses.topics[i]) for i in of],
            "teacher_id": [f"t{courses.teacher[i]:03d}" for i in of],
            "price_fen": price_fen,
            "duration_seconds": courses.duration_seconds[of],
            "description": [_description(courses, i) for i in of],
            "published_on": [calendar.start_on + timedelta(days=int(courses.published_day[i])) for i in of],
            "updated_at": calendar.at(day, chance.whole(0, 3600, seed, "course/updated", of, day)),
        },
        schema_overrides={"published_on": pl.Date},
    )


def _product_rows(
    products: Products, of: chance.Ints, day: chance.Ints, is_on_sale: bool, *, seed: int, calendar: Calendar
) -> pl.DataFrame:
    facts = [PRODUCTS[i] for i in of]
    return pl.DataFrame(
        {
            "day": day,
            "product_id": [products.product_id[i] for i in of],
            "product_name": [p.name for p in facts],
            "product_class": [p.product_class for p in facts],
            "topics": ["|".join(p.topics) for p in facts],
            "min_age": [p.min_age for p in facts],
            "max_age": [p.max_age for p in facts],
            "min_annual_income_fen": [None if p.min_income_yuan is None else 100 * p.min_income_yuan for p in facts],
            "annual_premium_fen": [100 * p.annual_premium_yuan for p in facts],
            "is_on_sale": [is_on_sale for _ in facts],
            "description": [f"{p.name}(模拟产品):适合关注{'、'.join(p.topics)}的客户。" for p in facts],
            "updated_at": calendar.at(day, chance.whole(0, 3600, seed, "product/updated", of, day)),
        },
        schema_overrides={"min_age": pl.Int64, "max_age": pl.Int64, "min_annual_income_fen": pl.Int64},
    )


def _topic_shares(main: chance.Ints, second: chance.Ints) -> chance.Floats:
    shares = np.zeros((len(TOPICS), len(main)))
    np.add.at(shares, (main, np.arange(len(main))), 0.7)
    np.add.at(shares, (second, np.arange(len(main))), 0.3)
    return shares


def _title(course: int) -> str:
    subject = SUBJECTS[TOPICS[course // 12]][course % 12 // 2]
    return f"{subject}:零基础入门" if course % 2 == 0 else f"{subject}进阶实战"


def _description(courses: Courses, course: int) -> str:
    topics = "、".join(courses.topics[course])
    return f"模拟课程。{courses.title[course]},围绕{topics},共 {courses.duration_seconds[course] // 1800 + 1} 讲。"
