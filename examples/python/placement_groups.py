"""Workers that must start together: a placement group reserves room for all of them or for none."""

import shoal
from shoal.util.placement_group import placement_group, remove_placement_group
from shoal.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@shoal.remote(num_cpus=1)
class Trainer:
    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size

    def step(self) -> str:
        group = shoal.util.get_current_placement_group()
        return f"rank {self.rank} of {self.world_size} in a group of {group.bundle_count} bundles"


def main() -> None:
    shoal.init(num_cpus=4)
    group = placement_group([{"CPU": 1}] * 3, strategy="PACK")
    shoal.get(group.ready(), timeout=30)
    print("free beside the group:", shoal.available_resources().get("CPU", 0))
    trainers = [
        Trainer.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, rank)).remote(rank, 3)
        for rank in range(3)
    ]
    for line in shoal.get([trainer.step.remote() for trainer in trainers]):
        print(line)
    remove_placement_group(group)


if __name__ == "__main__":
    main()
