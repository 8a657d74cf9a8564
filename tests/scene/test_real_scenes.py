"""The published files themselves: counts, names and numbers as published."""

import numpy as np
import pytest

from hypercover.scene.grid import Grid
from hypercover.scene.io.reading import check_usable, open_labels, open_scene
from hypercover.scene.selection import drop_classes, select_bands

INDIAN_PINES = {
    "Alfalfa": 46,
    "Corn-notill": 1428,
    "Corn-mintill": 830,
    "Corn": 237,
    "Grass-pasture": 483,
    "Grass-trees": 730,
    "Grass-pasture-mowed": 28,
    "Hay-windrowed": 478,
    "Oats": 20,
    "Soybean-notill": 972,
    "Soybean-mintill": 2455,
    "Soybean-clean": 593,
    "Wheat": 205,
    "Woods": 1265,
    "Buildings-Grass-Trees-Drives": 386,
    "Stone-Steel-Towers": 93,
}
PAVIA = {
    "Asphalt": 6631,
    "Meadows": 18649,
    "Gravel": 2099,
    "Trees": 3064,
    "Painted metal sheets": 1345,
    "Bare soil": 5029,
    "Bitumen": 1330,
    "Self-blocking bricks": 3682,
    "Shadows": 947,
}


def counted(labels, legend):
    return {land.name: int((labels == land.code).sum()) for land in legend}


def open_map(folder, name, shape=(145, 145)):
    return open_labels(folder / name, Grid(*shape))


class TestIndianPines:
    STAND_IN = "derived/indian_pines_rank37_reconstruction.npz"
    SITE_3 = "indian_pines/19920612_AVIRIS_IndianPine_Site3_gr.tif"

    def test_ground_truth(self, data_folder):
        found = open_map(data_folder, "indian_pines/Indian_pines_gt.mat")
        assert counted(*found) == INDIAN_PINES

    def test_site_3_from_tiff_and_erdas(self, data_folder):
        tiff, legend = open_map(data_folder, self.SITE_3)
        gis, same = open_map(data_folder, "indian_pines/92AV3GT.GIS")
        np.testing.assert_array_equal(tiff, gis)
        assert np.count_nonzero(tiff) == 10_366
        assert legend.names == same.names == tuple(INDIAN_PINES)
        assert legend[1].color == "#fffe89", "the colours of the file's own table"

    def test_fixed_maps_name_what_site_3_names(self, data_folder):
        site, names = open_map(data_folder, self.SITE_3)
        total = 0
        for part in ("TR", "TE"):
            labels, legend = open_map(
                data_folder, f"indian_pines/Indian{part}123_temp123.tif"
            )
            for land in legend:
                under = np.unique(site[labels == land.code])
                assert [names[int(code)].name for code in under] == [land.name]
            total += np.count_nonzero(labels)
        assert total == 10_366

    def test_dase_map_but_for_its_ten_wrong_pixels(self, data_folder):
        site, names = open_map(data_folder, self.SITE_3)
        labels, legend = open_map(data_folder, "indian_pines/indianpines_disjoint_dset.mat")
        here = [names[int(code)].name for code in site[labels > 0]]
        there = [legend[int(code)].name for code in labels[labels > 0]]
        assert len(here) == 5_689
        wrong = {pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]}
        assert wrong == {("Grass-pasture-mowed", "Soybean-mintill")}
        assert sum(one != other for one, other in zip(here, there, strict=True)) == 10

    def test_stand_in(self, data_folder):
        scene = open_scene(data_folder / self.STAND_IN, data_folder / self.SITE_3)
        assert scene.cube.shape == (200, 145, 145)
        assert scene.bands.tolist() == [*range(1, 104), *range(109, 150), *range(164, 220)]
        assert scene.wavelengths[[0, -1]].tolist() == [400.02, 2489.11]
        assert len(scene.legend) == 16
        assert select_bands(scene, drop="water-absorption").n_bands == 200
        assert drop_classes(scene, min_pixels=100).legend.names == tuple(
            name
            for name in INDIAN_PINES
            if name not in {"Alfalfa", "Grass-pasture-mowed", "Oats", "Stone-Steel-Towers"}
        )
        with np.load(data_folder / self.STAND_IN) as file:
            np.testing.assert_array_equal(
                scene.read(slice(3, 6), slice(None)), file["cube"][3:6].transpose(2, 0, 1)
            )
        check_usable(scene)

    def test_components_with_swapped_axes(self, data_folder):
        plain = open_scene(data_folder / "indian_pines" / "MNF_20_Indian.mat")
        turned = open_scene(
            data_folder / "indian_pines" / "MNF_20_Indian.mat", axes="col,row,band"
        )
        np.testing.assert_array_equal(
            turned.cube.values, plain.cube.values.transpose(0, 2, 1)
        )
        assert plain.wavelengths is None


class TestSalinasA:
    def test_image_and_ground_truth(self, data_folder):
        folder = data_folder / "salinas_a"
        scene = open_scene(folder / "SalinasA_corrected.mat", folder / "SalinasA_gt.mat")
        assert scene.cube.shape == (204, 83, 86)
        assert scene.cube.dtype == np.int16
        assert (
            "Image: variable 'salinasA_corrected', 83 rows × 86 columns × 204 bands."
            in scene.notes
        )
        assert counted(scene.labels, scene.legend) == {
            "Brocoli_green_weeds_1": 391,
            "Corn_senesced_green_weeds": 1343,
            "Lettuce_romaine_4wk": 616,
            "Lettuce_romaine_5wk": 1525,
            "Lettuce_romaine_6wk": 674,
            "Lettuce_romaine_7wk": 799,
        }
        check_usable(scene)


class TestPavia:
    def test_ground_truth_and_fixed_maps(self, data_folder):
        shape = (610, 340)
        truth, legend = open_map(data_folder, "pavia_university/PaviaU_gt.mat", shape)
        assert counted(truth, legend) == PAVIA
        train, names = open_map(data_folder, "pavia_university/TRpavia_fixed.mat", shape)
        test, same = open_map(data_folder, "pavia_university/TSpavia_fixed.mat", shape)
        assert names.names == same.names == tuple(PAVIA)
        assert np.count_nonzero(train) == 3_921
        assert np.count_nonzero(train[truth == 0]) == 1_147
        assert np.count_nonzero(test) == 40_002


@pytest.mark.parametrize("name", ["Train_X.mat", "TeLabel.mat"])
def test_lists_are_no_images(data_folder, name):
    from hypercover.errors import SceneError

    with pytest.raises(SceneError, match="three axes"):
        open_scene(data_folder / "indian_pines" / name)
